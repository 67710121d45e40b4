#!lua
-- spend: take tokens out of buckets, each for itself.
--
-- A bucket is a moment (us, by the store's own clock): when it would be full again. It is not
-- there while it is full, and it is empty when that moment is as far away as its window. One
-- further away than DEBT_MAX windows was written before the clock was set back: it counts as
-- empty. A repeat takes the tokens once more: that costs their owner a little time, nothing else.
--
-- KEYS the buckets
-- ARGV 1 "1": the tokens are gone, whether they were there or not; else "0"
--      then for each bucket: its window (us), and how much of it is taken (us; less than 0: given back)
-- Returns {for each bucket 1: taken | 0: there was not so much, us until it is full...}
local DEBT_MAX = 20
local time, reply = redis.call("TIME"), {}
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
for i, key in ipairs(KEYS) do
  local window, taken = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full = math.max(tonumber(redis.call("GET", key) or 0), now)
  if full - now > DEBT_MAX * window then full = now + window end
  reply[2 * i - 1] = 0
  if ARGV[1] == "1" or full + taken - now <= window then
    reply[2 * i - 1], full = 1, math.max(full + taken, now)
    if full == now then
      redis.call("DEL", key)
    else
      redis.call("SET", key, string.format("%.0f", full), "PX", math.ceil((full - now) / 1000))
    end
  end
  reply[2 * i] = full - now
end
return reply
