#!/usr/bin/env bash
# The shell peer: what a competent operator writes instead of a daemon. psql, a snapshot table, one SQL diff, curl.
#
#   DATABASE_URL=… WAZZUP_URL=… WAZZUP_KEY=… sync.sh
#
# One psql computes the batches, curl sends them, and a second psql records what was acknowledged, but only if there was
# anything to send. Phones are read by a rule of thumb, not by a library.
#
# CURL=each (default): one curl for each batch, as such scripts are written: it stops at the first refusal and knows what
# was sent. CURL=one: all batches through one curl and one connection. That is faster, and the floor for this approach.
# What neither does: isolate refusals, hand phones over, put a brake on removals, keep a lease, survive a lost answer.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Each line of batches: method, path, body. `wanted` is kept: what is recorded must be what was sent.
psql -X -q -v schema="${PEER_SCHEMA:-shell_peer}" -A -t -F $'\t' -v ON_ERROR_STOP=1 -d "$DATABASE_URL" >"$work/batches" <<'SQL'
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS :schema;
CREATE TABLE IF NOT EXISTS :schema.snapshot (id text PRIMARY KEY, name text NOT NULL, phone text);
CREATE UNLOGGED TABLE IF NOT EXISTS :schema.changes (batch bigint, id text, name text, phone text);
BEGIN;
TRUNCATE :schema.changes;
WITH wanted AS (
    SELECT id::text, btrim(name) AS name, regexp_replace(regexp_replace(phone, '\D', '', 'g'), '^8(\d{10})$', '7\1') AS phone
    FROM public.employees WHERE is_active
), changed AS (
    SELECT w.id, w.name, w.phone FROM wanted w LEFT JOIN :schema.snapshot s USING (id)
    WHERE (w.name, w.phone) IS DISTINCT FROM (s.name, s.phone)
), gone AS (
    SELECT s.id FROM :schema.snapshot s WHERE NOT EXISTS (SELECT FROM wanted w WHERE w.id = s.id)
)
INSERT INTO :schema.changes
    SELECT (row_number() OVER (ORDER BY id) - 1) / 100, id, name, phone FROM changed
    UNION ALL SELECT -1 - (row_number() OVER (ORDER BY id) - 1) / 100, id, NULL, NULL FROM gone;
COMMIT;
SELECT 'PATCH', '/users/bulk_delete', jsonb_agg(id) FROM :schema.changes WHERE batch < 0 GROUP BY batch;
SELECT 'POST', '/users', jsonb_agg(jsonb_strip_nulls(jsonb_build_object('id', id, 'name', name, 'phone', phone)))
    FROM :schema.changes WHERE batch >= 0 GROUP BY batch ORDER BY batch;
SQL
[ -s "$work/batches" ] || exit 0

headers=(-H "Authorization: Bearer $WAZZUP_KEY" -H "Content-Type: application/json")
if [ "${CURL:-each}" = one ]; then
    # A configuration of curl, one section for each request; the bodies are files, or curl would have to unquote them.
    split -l 1 -a 6 -d <(cut -f 3 "$work/batches") "$work/body."
    number=0
    while IFS=$'\t' read -r method path _; do
        ((number == 0)) || echo next
        printf 'request = %s\nurl = "%s%s"\ndata-binary = "@%s/body.%06d"\nheader = "%s"\nheader = "%s"\nfail\nsilent\nshow-error\n' \
            "$method" "$WAZZUP_URL" "$path" "$work" $((number++)) "${headers[1]}" "${headers[3]}"
    done <"$work/batches" >"$work/config"
    curl --fail-early --config "$work/config" >"$work/answers"
else
    while IFS=$'\t' read -r method path body; do
        curl --fail --silent --show-error -X "$method" "${headers[@]}" --data-binary @- "$WAZZUP_URL$path" <<<"$body" >>"$work/answers"
    done <"$work/batches"
fi

psql -X -q -v schema="${PEER_SCHEMA:-shell_peer}" -v ON_ERROR_STOP=1 -d "$DATABASE_URL" <<'SQL'
BEGIN;
DELETE FROM :schema.snapshot s USING :schema.changes c WHERE c.id = s.id AND c.batch < 0;
INSERT INTO :schema.snapshot SELECT id, name, phone FROM :schema.changes WHERE batch >= 0
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, phone = excluded.phone;
COMMIT;
SQL
