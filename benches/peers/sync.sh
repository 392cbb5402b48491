#!/usr/bin/env bash
# The shell peer: what a competent operator writes instead of a daemon.
#
#   DATABASE_URL=… WAZZUP_URL=… WAZZUP_KEY=… sync.sh
#
# One psql computes the batches, one curl sends them over one connection, and a second psql records them if all were
# accepted. Phones are read by a rule of thumb. What it does not do: isolate refusals, hand phones over, hold removals
# back, keep a lease, know after a failure what was accepted.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sql() { psql -XqAt -F $'\t' -v ON_ERROR_STOP=1 -d "$DATABASE_URL"; }

# Each line of batches: method, path, body. `changes` is kept: what is recorded must be what was sent.
sql >"$work/batches" <<'SQL'
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS shell_peer;
CREATE TABLE IF NOT EXISTS shell_peer.snapshot (id text PRIMARY KEY, name text NOT NULL, phone text);
CREATE UNLOGGED TABLE IF NOT EXISTS shell_peer.changes (batch bigint, id text, name text, phone text);
BEGIN;
TRUNCATE shell_peer.changes;
WITH wanted AS (
    SELECT id::text, btrim(name) AS name, regexp_replace(regexp_replace(phone, '\D', '', 'g'), '^8(\d{10})$', '7\1') AS phone
    FROM public.employees WHERE is_active
), changed AS (
    SELECT w.id, w.name, w.phone FROM wanted w LEFT JOIN shell_peer.snapshot s USING (id)
    WHERE (w.name, w.phone) IS DISTINCT FROM (s.name, s.phone)
), gone AS (
    SELECT s.id FROM shell_peer.snapshot s WHERE NOT EXISTS (SELECT FROM wanted w WHERE w.id = s.id)
)
INSERT INTO shell_peer.changes
    SELECT (row_number() OVER (ORDER BY id) - 1) / 100, id, name, phone FROM changed
    UNION ALL SELECT -1 - (row_number() OVER (ORDER BY id) - 1) / 100, id, NULL, NULL FROM gone;
COMMIT;
SELECT 'PATCH', '/users/bulk_delete', jsonb_agg(id) FROM shell_peer.changes WHERE batch < 0 GROUP BY batch;
SELECT 'POST', '/users', jsonb_agg(jsonb_strip_nulls(jsonb_build_object('id', id, 'name', name, 'phone', phone)))
    FROM shell_peer.changes WHERE batch >= 0 GROUP BY batch ORDER BY batch;
SQL
[ -s "$work/batches" ] || exit 0

# A configuration of curl with a section for each request; the bodies are files, or curl would have to unquote them.
cut -f 3 "$work/batches" | split -l 1 -a 6 -d - "$work/body."
number=0
while IFS=$'\t' read -r method path _; do
    ((number == 0)) || echo next
    printf 'request = %s\nurl = "%s%s"\ndata-binary = "@%s/body.%06d"\n' "$method" "$WAZZUP_URL" "$path" "$work" $((number++))
    printf 'header = "Authorization: Bearer %s"\nheader = "Content-Type: application/json"\nfail\nsilent\nshow-error\n' "$WAZZUP_KEY"
done <"$work/batches" >"$work/config"
curl --fail-early --config "$work/config" >/dev/null

sql <<'SQL'
BEGIN;
DELETE FROM shell_peer.snapshot s USING shell_peer.changes c WHERE c.id = s.id AND c.batch < 0;
INSERT INTO shell_peer.snapshot SELECT id, name, phone FROM shell_peer.changes WHERE batch >= 0
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, phone = excluded.phone;
COMMIT;
SQL
