#!lua
-- announce: number what a process has to tell, keep it for a while, and tell it.
--
-- KEYS 1 announcements  2 number of the process's last batch
-- ARGV 1 number of this batch  2 how long that is kept (s)  3 announcements kept  then announcements
-- Returns the number of the last announcement
local newest = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)[1]
local seq = newest and tonumber(string.match(newest[1], "^%d+")) or 0
if tonumber(redis.call("GET", KEYS[2]) or 0) >= tonumber(ARGV[1]) then return seq end
redis.call("SET", KEYS[2], ARGV[1], "EX", ARGV[2])
local lines = {string.format("%.0f", seq + 1)}
for i = 4, #ARGV do
  seq = seq + 1
  redis.call("XADD", KEYS[1], "MAXLEN", "~", ARGV[3], string.format("%.0f", seq) .. "-0", "a", ARGV[i])
  lines[#lines + 1] = ARGV[i]
end
redis.call("PUBLISH", KEYS[1], table.concat(lines, "\n"))
return seq
