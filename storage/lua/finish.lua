#!lua flags=allow-oom
-- finish: the end of jobs that a worker has started: of one, or of those of a dead worker.
--
-- Only the execution that is named is ended. A repeated or late finish finds its execution
-- gone and changes nothing, even where somebody has started the job again meanwhile.
-- A job whose context has mail (it is in `ready`) is queued again in the same step, for
-- those who delivered the mail saw the job as started and did not enqueue it.
--
-- rq's keys live on one primary: those of jobs, executions and results are made up here.
--
-- KEYS 1 queue (list)  2 started jobs (zset)  3 failed jobs (zset)  4 rq's worker (hash)
--      5 jobs of the worker: id -> execution id (hash)  6 number of its last take (string)
--      7 ready (zset)  8 rq's set of workers  9 rq's set of the queue's workers  10 workers
-- ARGV 1 ending: "passive" | "elsewhere" (another worker has the context: not queued again)
--        | "failed" | "dead" (the worker; ends up to ARGV 3 of its jobs)
--      2 job id, or the dead worker's  3 execution id, or how many  4 now (rq's format)  5 now (s)
--      6 what the ids of activation jobs begin with  7 how long failed jobs are kept (s)
--      8 how many are kept  then rq's result of a failed job: field, value...
-- Returns 1: ended | 2: queued again | 0: no such execution
--      dead: how many jobs the worker still has; with 0 it is not registered any more
local alive = redis.call("EXISTS", KEYS[4]) == 1

local function fail(id, key)
  local kept_s, until_s = tonumber(ARGV[7]), tonumber(ARGV[5]) + tonumber(ARGV[7])
  redis.call("HSET", key, "status", "failed", "ended_at", ARGV[4])
  redis.call("EXPIRE", key, kept_s)
  redis.call("XADD", "rq:results:" .. id, "MAXLEN", 10, "*", unpack(ARGV, 9))
  redis.call("EXPIRE", "rq:results:" .. id, kept_s)
  redis.call("ZADD", KEYS[3], until_s, id)
  redis.call("ZREMRANGEBYSCORE", KEYS[3], "-inf", ARGV[5])
  redis.call("ZREMRANGEBYRANK", KEYS[3], 0, -tonumber(ARGV[8]) - 1)
end

local function queue_again(id, key)
  redis.call("HSET", key, "status", "queued", "enqueued_at", ARGV[4], "started_at", "",
    "last_heartbeat", "", "worker_name", "")
  redis.call("RPUSH", KEYS[1], id)
end

local function finish(id, execution, ending)
  if redis.call("HGET", KEYS[5], id) ~= execution then return 0 end
  local key, composite = "rq:job:" .. id, id .. ":" .. execution
  local status = redis.call("HGET", key, "status")
  local since_s = redis.call("HGET", "rq:execution:" .. composite, "created_at")
  redis.call("HDEL", KEYS[5], id)
  redis.call("ZREM", KEYS[2], composite)
  redis.call("DEL", "rq:execution:" .. composite, "rq:executions:" .. id)
  if alive and ending ~= "dead" then
    local count = ending == "failed" and "failed_job_count" or "successful_job_count"
    redis.call("HINCRBY", KEYS[4], count, 1)
    local worked_s = tonumber(ARGV[5]) - tonumber(since_s or ARGV[5])
    if worked_s > 0 then redis.call("HINCRBYFLOAT", KEYS[4], "total_working_time", worked_s) end
    if redis.call("HGET", KEYS[4], "current_job") == id then
      local other = redis.call("HRANDFIELD", KEYS[5])
      if other then
        redis.call("HSET", KEYS[4], "current_job", other)
      else
        redis.call("HDEL", KEYS[4], "current_job")
        redis.call("HSET", KEYS[4], "state", "idle")
      end
    end
  end
  if status ~= "started" then return 1 end
  local ours = string.sub(id, 1, #ARGV[6]) == ARGV[6]
  if ending == "failed" or (ending == "dead" and not ours) then
    fail(id, key)
    return 1
  end
  if ours and ending ~= "elsewhere" and redis.call("ZSCORE", KEYS[7], string.sub(id, #ARGV[6] + 1)) then
    queue_again(id, key)
    return 2
  end
  redis.call("DEL", key)
  return 1
end

if ARGV[1] ~= "dead" then return finish(ARGV[2], ARGV[3], ARGV[1]) end

local jobs = redis.call("HRANDFIELD", KEYS[5], ARGV[3], "WITHVALUES")
for i = 1, #jobs, 2 do finish(jobs[i], jobs[i + 1], "dead") end
local left = redis.call("HLEN", KEYS[5])
if left == 0 then
  redis.call("DEL", KEYS[6])
  redis.call("SREM", KEYS[8], KEYS[4])
  redis.call("SREM", KEYS[9], KEYS[4])
  if tonumber(redis.call("ZSCORE", KEYS[10], ARGV[2]) or 0) < 0 then
    redis.call("ZREM", KEYS[10], ARGV[2])
  end
  if alive then
    redis.call("HSET", KEYS[4], "death", ARGV[4])
    redis.call("HDEL", KEYS[4], "current_job")
    redis.call("EXPIRE", KEYS[4], 60)
  end
end
return left
