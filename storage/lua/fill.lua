#!lua
-- fill: a piece of the log of a context that is yet to be created, where the log is long; or of
-- the messages of the snapshot that comes with it.
--
-- Nobody sees either before `create` has taken them over. Until then each is kept only for a while
-- after its last piece, so that whoever dies in between leaves nothing.
--
-- KEYS 1 meta  2 log, or msgs
-- ARGV 1 what KEYS 2 is: "log" | "msgs"  2 version before the first piece of the log, or 0
--      3 version, or how many messages, before this one  4 how long the next may take (s)
--      then events, or messages
-- Returns "filled" | "lost": of what was before it nothing, or not all, is there any more
if redis.call("EXISTS", KEYS[1]) == 1 then return "filled" end
local is_log, there = ARGV[1] == "log", nil
if is_log then
  local last = redis.call("XREVRANGE", KEYS[2], "+", "-", "COUNT", 1)[1]
  there = tonumber(last and string.match(last[1], "^%d+") or ARGV[2])
else
  there = redis.call("LLEN", KEYS[2])
end
local before = tonumber(ARGV[3])
if there < before then return "lost" end
if there > before then return "filled" end
for i = 5, #ARGV do
  if is_log then
    redis.call("XADD", KEYS[2], string.format("%d-0", before + i - 4), "e", ARGV[i])
  else
    redis.call("RPUSH", KEYS[2], ARGV[i])
  end
end
redis.call("EXPIRE", KEYS[2], ARGV[4])
return "filled"
