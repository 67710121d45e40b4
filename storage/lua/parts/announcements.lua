-- announcements: number what is told, keep it for a while, and tell it.
--
-- announcements: the key; kept: how many are, at least; told: what is
local function announce(announcements, kept, told)
  local newest = redis.call("XREVRANGE", announcements, "+", "-", "COUNT", 1)[1]
  local seq = newest and tonumber(string.match(newest[1], "^%d+")) or 0
  local lines = {string.format("%.0f", seq + 1)}
  for _, line in ipairs(told) do
    seq = seq + 1
    redis.call("XADD", announcements, "MAXLEN", "~", kept, string.format("%.0f", seq) .. "-0", "a", line)
    lines[#lines + 1] = line
  end
  redis.call("PUBLISH", announcements, table.concat(lines, "\n"))
end
