#!lua flags=allow-oom
-- enqueue: the rq job "make this context active", once however many ask for it.
--
-- Runs when memory is full: its mail was admitted already, and the job lets it be drained.
-- A job that ended (failed, canceled) or whose hash is broken is made anew.
--
-- Where jobs wait, those of an owner who has many contexts at work wait in a line of their own,
-- the crowd, behind everybody else's: see take.
--
-- KEYS 1 queue (list)  2 rq's set of queues  3 job (hash)  4 failed jobs (zset)
--      5 canceled jobs (zset)  6 crowd (list)  7 owner's turns (set)
-- ARGV 1 job id  2 how many contexts at work are many  then the job: field, value...
-- Returns 1 | 0: it is queued or started already
local status = redis.pcall("HGET", KEYS[3], "status")
if status == "queued" or status == "started" then return 0 end
if status then
  redis.call("ZREM", KEYS[4], ARGV[1])
  redis.call("ZREM", KEYS[5], ARGV[1])
  redis.call("DEL", KEYS[3])
end
redis.call("HSET", KEYS[3], unpack(ARGV, 3))
local line = KEYS[1]
if redis.call("SCARD", KEYS[7]) >= tonumber(ARGV[2]) and redis.call("EXISTS", line) == 1 then
  line = KEYS[6]
end
redis.call("RPUSH", line, ARGV[1])
redis.call("SADD", KEYS[2], line)
return 1
