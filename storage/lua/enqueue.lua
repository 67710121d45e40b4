#!lua flags=allow-oom
-- enqueue: the rq job "make this context active", once however many ask for it.
--
-- Runs when memory is full: its mail was admitted already, and the job lets it be drained.
-- A job that ended (failed, canceled) or whose hash is broken is made anew.
--
-- KEYS 1 queue (list)  2 rq's set of queues  3 job (hash)  4 failed jobs (zset)
--      5 canceled jobs (zset)
-- ARGV 1 job id  2 key of the queue, as rq lists it  then the job: field, value...
-- Returns 1 | 0: it is queued or started already
local status = redis.pcall("HGET", KEYS[3], "status")
if status == "queued" or status == "started" then return 0 end
if status then
  redis.call("ZREM", KEYS[4], ARGV[1])
  redis.call("ZREM", KEYS[5], ARGV[1])
  redis.call("DEL", KEYS[3])
end
redis.call("HSET", KEYS[3], unpack(ARGV, 3))
redis.call("RPUSH", KEYS[1], ARGV[1])
redis.call("SADD", KEYS[2], ARGV[2])
return 1
