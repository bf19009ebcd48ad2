"""Views to ask the archive by: what has not been deleted, and figures about runs.

    gg_history          checkpoints of threads that were not deleted, without their values
    gg_entries          documents and logs as they are now: the newest copy of each row, without what was deleted
    gg_runs             the newest state of each run, with what is asked about most in columns of its own
    gg_runs_per_day     day, status: runs that began on that day
    gg_step_latency     action: attempts, p50_ms, p95_ms, p99_ms
    gg_action_failures  action, error_type: failures, and which share of the action's attempts they are
    gg_cost_per_day     day: runs, total_tokens, cost

Entries of kind `run` have the columns status, plan_id, user_id, org_id, origin and the counters total_tokens, cost;
those of kind `event` have the columns phase, step_id, action, attempt, duration_ms, error_type. An event that ends an
attempt has `duration_ms`, and `error_type` when it failed.
"""

_ENTRIES = """
CREATE VIEW IF NOT EXISTS gg_entries{cluster} AS
SELECT r.kind AS kind, r.owner AS owner, r.seq AS seq, r.at AS at, r.columns AS columns, r.counters AS counters,
       r.ts AS archived_at, r.ver AS ver
FROM gg_records AS r FINAL
LEFT JOIN (
  SELECT kind, owner, max(upto_ver) AS upto FROM gg_tombstones GROUP BY kind, owner
) AS gone ON gone.kind = r.kind AND gone.owner = r.owner
WHERE r.ver > ifNull(gone.upto, 0)
"""
_HISTORY = """
CREATE VIEW IF NOT EXISTS gg_history{cluster} AS
SELECT c.thread_id AS thread_id, c.checkpoint_ns AS checkpoint_ns, c.checkpoint_id AS checkpoint_id,
       c.parent_id AS parent_id, c.run_id AS run_id, c.labels['source'] AS source,
       toInt32OrNull(c.labels['step']) AS step, c.ts AS at
FROM gg_checkpoints AS c FINAL
LEFT JOIN (
  SELECT owner, max(upto_ver) AS upto FROM gg_tombstones WHERE kind = 'thread' GROUP BY owner
) AS gone ON gone.owner = c.thread_id
WHERE c.ver > ifNull(gone.upto, 0)
ORDER BY thread_id, checkpoint_ns, checkpoint_id
"""
_RUNS = """
CREATE VIEW IF NOT EXISTS gg_runs{cluster} AS
SELECT owner AS run_id, min(at) AS began_at, max(at) AS changed_at,
       argMax(columns, seq)['status'] AS status, argMax(columns, seq)['plan_id'] AS plan_id,
       argMax(columns, seq)['user_id'] AS user_id, argMax(columns, seq)['org_id'] AS org_id,
       argMax(columns, seq)['origin'] AS origin,
       argMax(counters, seq)['total_tokens'] AS total_tokens, argMax(counters, seq)['cost'] AS cost
FROM gg_entries WHERE kind = 'run' GROUP BY owner
"""
_RUNS_PER_DAY = """
CREATE VIEW IF NOT EXISTS gg_runs_per_day{cluster} AS
SELECT toDate(began_at, 'UTC') AS day, status, count() AS runs FROM gg_runs GROUP BY day, status ORDER BY day, status
"""
_STEP_LATENCY = """
CREATE VIEW IF NOT EXISTS gg_step_latency{cluster} AS
SELECT columns['action'] AS action, count() AS attempts,
       quantileExact(0.5)(took) AS p50_ms, quantileExact(0.95)(took) AS p95_ms, quantileExact(0.99)(took) AS p99_ms
FROM (SELECT columns, toFloat64OrNull(columns['duration_ms']) AS took FROM gg_entries WHERE kind = 'event')
WHERE took IS NOT NULL AND columns['action'] != '' GROUP BY action ORDER BY action
"""
_ACTION_FAILURES = """
CREATE VIEW IF NOT EXISTS gg_action_failures{cluster} AS
SELECT action, error_type, count() AS failures, failures / any(attempts) AS share
FROM (
  SELECT columns['action'] AS action, columns['error_type'] AS error_type,
         countIf(columns['duration_ms'] != '' OR columns['error_type'] != '') OVER (PARTITION BY columns['action'])
           AS attempts
  FROM gg_entries WHERE kind = 'event' AND columns['action'] != ''
)
WHERE error_type != '' GROUP BY action, error_type ORDER BY failures DESC, action, error_type
"""
_COST_PER_DAY = """
CREATE VIEW IF NOT EXISTS gg_cost_per_day{cluster} AS
SELECT toDate(began_at, 'UTC') AS day, count() AS runs, sum(total_tokens) AS total_tokens, sum(cost) AS cost
FROM gg_runs GROUP BY day ORDER BY day
"""
ANALYTICS = (_HISTORY, _ENTRIES, _RUNS, _RUNS_PER_DAY, _STEP_LATENCY, _ACTION_FAILURES, _COST_PER_DAY)
VIEWS = """
SELECT table AS view, arrayStringConcat(groupArray(name), ', ') AS columns
FROM system.columns
WHERE database = currentDatabase()
  AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View')
GROUP BY table
ORDER BY table
"""
"""Lists the views, with their columns."""
