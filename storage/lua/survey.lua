#!lua flags=no-writes
-- survey: what there is and what there has been, seen at one moment.
--
-- KEYS 1 totals  2 processes  3 contexts  4 dead letters  5 ready  6 latencies  7 announcements
-- ARGV 1 length of a slot (s)  2 number of slots  3 1: latencies since ever, too
--      4 how many mailboxes are looked into
-- Returns {now (ms), totals, {what each process says of itself...}, contexts, dead letters,
--      {since when the oldest mail waits}, {each slot...}, latencies since ever,
--      {the newest announcement}}; hashes are flat
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local processes, slots = {}, {}
for _, id in ipairs(redis.call("ZRANGE", KEYS[2], 0, -1)) do
  local said = redis.call("GET", "process:" .. id)
  if said then processes[#processes + 1] = said end
end
local slot = math.floor(tonumber(time[1]) / tonumber(ARGV[1]))
for i = slot - tonumber(ARGV[2]), slot do
  slots[#slots + 1] = redis.call("HGETALL", string.format("%s:%.0f", KEYS[6], i))
end
local oldest = {}
for _, id in ipairs(redis.call("ZRANGE", KEYS[5], 0, ARGV[4] - 1)) do
  -- When a context was offered to workers says nothing of its mail, which waits since it came.
  local first = redis.call("XRANGE", "ctx:{" .. id .. "}:mail", "-", "+", "COUNT", 1)[1]
  local since = first and tonumber(first[2][4])
  if since and since < (oldest[1] or math.huge) then oldest[1] = since end
end
return {now, redis.call("HGETALL", KEYS[1]), processes, redis.call("ZCARD", KEYS[3]),
  redis.call("ZCARD", KEYS[4]), oldest, slots, ARGV[3] == "1" and redis.call("HGETALL", KEYS[6]) or {},
  redis.call("XREVRANGE", KEYS[7], "+", "-", "COUNT", 1)}
