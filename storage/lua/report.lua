#!lua flags=allow-oom
-- report: a process says how it is, and what it has counted since it last did.
--
-- What is counted is added once for each number; how the process is, is written each time.
--
-- KEYS 1 processes  2 what this one says of itself  3 number of its last report  4 totals  5 latencies
-- ARGV 1 its id  2 number of this report  3 what it says of itself  4 how long that is true (s)
--      5 length of a slot (s)  6 how long one is kept (s)  7 how long the number is kept (s)
--      8 counts and 9 bins of the sketches, each "name number name number..."
-- Returns "reported" | "repeated"
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call("SET", KEYS[2], ARGV[3], "EX", ARGV[4])
redis.call("ZADD", KEYS[1], now, ARGV[1])
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now - 1000 * tonumber(ARGV[4]))
redis.call("HSETNX", KEYS[4], "since", string.format("%.0f", now))
local slot = string.format("%s:%.0f", KEYS[5], math.floor(tonumber(time[1]) / tonumber(ARGV[5])))
if redis.call("EXISTS", slot) == 0 then
  local totals, sums = redis.call("HGETALL", KEYS[4]), {["actions:applied"] = 0, ["turns:started"] = 0}
  for i = 1, #totals, 2 do
    for name in string.gmatch(totals[i], "%S+") do
      if sums[name] then sums[name] = sums[name] + tonumber(totals[i + 1]) end
    end
  end
  redis.call("HSET", slot, "at", string.format("%.0f", now), "actions", string.format("%.0f", sums["actions:applied"]),
    "turns", string.format("%.0f", sums["turns:started"]))
  redis.call("EXPIRE", slot, ARGV[6])
end
if tonumber(redis.call("GET", KEYS[3]) or 0) >= tonumber(ARGV[2]) then return "repeated" end
redis.call("SET", KEYS[3], ARGV[2], "EX", ARGV[7])
for name, number in string.gmatch(ARGV[8], "(%S+) (%d+)") do
  redis.call("HINCRBY", KEYS[4], name, number)
end
for name, number in string.gmatch(ARGV[9], "(%S+) (%d+)") do
  redis.call("HINCRBY", KEYS[5], name, number)
  redis.call("HINCRBY", slot, name, number)
end
return "reported"
