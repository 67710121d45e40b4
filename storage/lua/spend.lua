#!lua
-- spend: take tokens out of buckets, out of all of them or out of none.
--
-- A bucket is a moment (us, by the store's own clock): when it would be full again. It is not
-- there while it is full, and it is empty when that moment is as far away as its window. One
-- further away than DEBT_MAX windows was written before the clock was set back: it counts as
-- empty. A repeat takes the tokens once more: that costs their owner a little time, nothing else.
--
-- KEYS the buckets
-- ARGV 1 "1": the tokens are gone, whether they were there or not; else "0"
--      then for each bucket: its window (us), and how much of it is taken (us; less than 0: given back)
-- Returns {1: taken | 0: not, us until the first bucket is full again, until the second...}
local DEBT_MAX = 20
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local fulls, reply = {}, {1}
for i, key in ipairs(KEYS) do
  local window, taken = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full = math.max(tonumber(redis.call("GET", key) or 0), now)
  if full - now > DEBT_MAX * window then full = now + window end
  if ARGV[1] == "0" and full + taken - now > window then reply[1] = 0 end
  fulls[i], reply[i + 1] = full + taken, full - now
end
if reply[1] == 0 then return reply end
for i, key in ipairs(KEYS) do
  local left = math.max(fulls[i] - now, 0)
  if left == 0 then
    redis.call("DEL", key)
  else
    redis.call("SET", key, string.format("%.0f", fulls[i]), "PX", math.ceil(left / 1000))
  end
  reply[i + 1] = left
end
return reply
