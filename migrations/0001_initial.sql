-- The state of wazzup-sync. Every table has the account's name: many accounts share one database.
-- Times are on this database's clock. No foreign keys: every write of a cycle holds the account's row by the lease, and a
-- check for each row would make recording a batch a third slower. Keys start with the user id: a planner without statistics
-- would otherwise scan all users of the account for each batch.

CREATE TABLE accounts (
    account             text PRIMARY KEY,
    -- The lease: who may write, until when. The fencing token grows with each new holder.
    lease_holder        text,
    lease_host          text,
    lease_token         bigint NOT NULL DEFAULT 0,
    lease_expires_at    timestamptz,
    -- The cycle that was opened last.
    cycle_id            bigint NOT NULL DEFAULT 0,
    -- The last cycle that ended, quiet ones included.
    last_cycle_id       bigint,
    last_started_at     timestamptz,
    last_finished_at    timestamptz,
    last_outcome        text CHECK (last_outcome IN ('in_sync', 'incomplete', 'failed')),
    last_error_kind     text,
    last_error          text,
    last_success_at     timestamptz,
    failing_since       timestamptz,
    -- When the log last reported a failing cycle as an error, and when it last reported holds.
    error_reported_at   timestamptz,
    holds_reported_at   timestamptz,
    -- The counts of the last cycle that got so far: eligible = in_sync + failing + waiting_for_seat +
    -- pending.
    eligible            bigint NOT NULL DEFAULT 0,
    in_sync             bigint NOT NULL DEFAULT 0,
    failing             bigint NOT NULL DEFAULT 0,
    waiting_for_seat    bigint NOT NULL DEFAULT 0,
    pending             bigint NOT NULL DEFAULT 0,
    missing_ids         bigint NOT NULL DEFAULT 0,
    -- Wazzup's own list: the last cycle that had one and did not fail; the last one that passed, and what it was read with.
    list_read_at        timestamptz,
    list_passed_at      timestamptz,
    fingerprint         text,
    seats_used          bigint,
    foreign_users       bigint,
    seats_limit         bigint,
    seats_counted_at    timestamptz,
    -- Who waited for a seat at its end.
    waiting_ids         text[] NOT NULL DEFAULT '{}',
    pruned_at           timestamptz NOT NULL DEFAULT now()
);

-- The users we manage, as Wazzup last acknowledged them. A row without a name belongs to a creation whose answer was lost,
-- or to a removed user whom a lost upsert may bring back.
CREATE TABLE users (
    account             text NOT NULL,
    user_id             text NOT NULL,
    name                text,
    phone               text,
    -- How the CRM spells the phone, so that an unchanged spelling need not be read again.
    phone_spelling      text,
    -- Since when the CRM does not name the user any more.
    absent_since        timestamptz,
    synced_at           timestamptz,
    added_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, account)
);

-- The journal: the request that is under way. Its entries are {id, name, phone, phone_spelling, change}; those of a
-- removal are {id}.
CREATE TABLE in_flight (
    account             text PRIMARY KEY,
    started_at          timestamptz NOT NULL,
    -- How long after a loss the request may still act.
    lands_within        interval NOT NULL,
    operation           text NOT NULL CHECK (operation IN ('upsert', 'remove')),
    entries             jsonb NOT NULL
);

CREATE VIEW in_flight_entries AS
    SELECT request.account, request.lands_within, request.operation, entry.id AS user_id, entry.name, entry.phone,
        entry.phone_spelling, entry.change
    FROM in_flight AS request
    CROSS JOIN LATERAL jsonb_to_recordset(request.entries)
        AS entry (id text, name text, phone text, phone_spelling text, change text);

-- Entries of requests that may have acted, or may still act, without our knowing.
CREATE TABLE lost (
    account             text NOT NULL,
    user_id             text NOT NULL,
    operation           text NOT NULL CHECK (operation IN ('upsert', 'remove')),
    name                text,
    phone               text,
    lost_at             timestamptz NOT NULL,
    may_land_until      timestamptz NOT NULL
);

-- The same entry lost again only moves its times, so that an outage of hours does not make the journal grow.
CREATE UNIQUE INDEX lost_once ON lost (user_id, account, operation, COALESCE(name, ''), COALESCE(phone, ''));

CREATE TABLE failures (
    account             text NOT NULL,
    user_id             text NOT NULL,
    operation           text NOT NULL CHECK (operation IN ('upsert', 'remove', 'phone')),
    -- Found in the CRM's own rows: no retry schedule.
    local               boolean NOT NULL,
    code                text NOT NULL,
    detail              text NOT NULL,
    request_id          text,
    attempted_name      text,
    attempted_phone     text,
    -- Of a phone that cannot be read: as the CRM spells it, so that it is not read again.
    spelling            text,
    attempts            integer NOT NULL,
    first_at            timestamptz NOT NULL,
    last_at             timestamptz NOT NULL,
    next_attempt_at     timestamptz,
    PRIMARY KEY (user_id, operation, account)
);

-- What looks like a mistake and waits until somebody approves exactly its content. The user of kind 'account' is ''.
CREATE TABLE holds (
    account             text NOT NULL,
    user_id             text NOT NULL,
    kind                text NOT NULL CHECK (kind IN ('account', 'remove', 'update', 'takeover')),
    content             text NOT NULL,
    -- Of a take-over: the CRM's row, for which alone an approval is; its name and phone as JSON.
    crm_row             text,
    reason              text NOT NULL,
    since               timestamptz NOT NULL,
    sticky              boolean NOT NULL,
    approved_at         timestamptz,
    approved_by         text,
    PRIMARY KEY (user_id, kind, account)
);

-- What operators asked for; the next cycle takes it.
CREATE TABLE inbox (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account             text NOT NULL,
    at                  timestamptz NOT NULL DEFAULT now(),
    -- NULL: a retry of everybody.
    user_id             text,
    -- Of approvals: which hold, and exactly what was shown; NULL: a retry.
    kind                text,
    content             text,
    crm_row             text,
    given_by            text NOT NULL
);

-- A row for each cycle that did or failed something.
CREATE TABLE cycles (
    account             text NOT NULL,
    cycle_id            bigint NOT NULL,
    started_at          timestamptz NOT NULL,
    finished_at         timestamptz NOT NULL,
    outcome             text NOT NULL CHECK (outcome IN ('in_sync', 'incomplete', 'failed')),
    error_kind          text,
    error               text,
    requests            bigint NOT NULL,
    added               bigint NOT NULL,
    adopted             bigint NOT NULL,
    updated             bigint NOT NULL,
    removed             bigint NOT NULL,
    held                bigint NOT NULL,
    PRIMARY KEY (account, cycle_id)
);

-- A row for each user and delivered change. That of a removal has no phone.
CREATE TABLE history (
    account             text NOT NULL,
    cycle_id            bigint NOT NULL,
    at                  timestamptz NOT NULL,
    user_id             text NOT NULL,
    operation           text NOT NULL
        CHECK (operation IN ('add', 'adopt', 'take_over', 'update', 'release', 'resend', 'remove')),
    outcome             text NOT NULL CHECK (outcome IN ('delivered', 'absent')),
    -- Who approved it, where it was held. The brake does not count approved removals.
    approved_by         text,
    name_before         text,
    phone_before        text,
    name_after          text,
    phone_after         text
);

-- For the brake, which every cycle asks. Only its query has an index: any other would slow down each delivery.
CREATE INDEX history_of_removals ON history (account, at) WHERE operation = 'remove';

-- The journal. In functions, whose plans a session keeps: a batch takes one call, and nothing is planned for it. Rows are
-- looked up by their keys alone: a plan that was made while the tables were empty would otherwise keep scanning them.

-- Takes the request in flight out of the journal, with what became of it, and puts the next one in, if there is one. Before
-- that it renews the lease and counts seats; it returns false, and does nothing else, if another process has the lease. `loss`: NULL, 'over' or 'may_land'.
CREATE FUNCTION advance_journal(of_account text, token bigint, holder text, lease interval, in_cycle bigint,
    acknowledged boolean, already_absent text[], seats_taken bigint, loss text,
    next_operation text, next_entries jsonb, next_lands_within interval) RETURNS boolean LANGUAGE plpgsql
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    operation_in_flight text := (SELECT operation FROM in_flight WHERE account = of_account);
BEGIN
    -- Unknown seats stay NULL; GREATEST alone would make them 0.
    UPDATE accounts SET lease_expires_at = now() + lease,
        seats_used = CASE WHEN seats_used IS NOT NULL THEN GREATEST(seats_used + seats_taken, 0) END
    WHERE account = of_account AND lease_token = token AND lease_holder = holder;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Before the loss, which may be of an earlier attempt of the same request.
    IF acknowledged AND operation_in_flight = 'upsert' THEN
        PERFORM acknowledge_upserts(of_account, in_cycle);
    ELSIF acknowledged AND operation_in_flight = 'remove' THEN
        PERFORM acknowledge_removals(of_account, in_cycle, already_absent);
    END IF;
    IF loss IS NOT NULL THEN
        PERFORM lose_request_in_flight(of_account, loss = 'may_land');
    END IF;
    IF next_operation IS NULL THEN
        DELETE FROM in_flight WHERE account = of_account;
    ELSE
        INSERT INTO in_flight (account, started_at, lands_within, operation, entries)
        VALUES (of_account, now(), next_lands_within, next_operation, next_entries)
        ON CONFLICT (account) DO UPDATE SET started_at = excluded.started_at, lands_within = excluded.lands_within,
            operation = excluded.operation, entries = excluded.entries;
    END IF;
    RETURN true;
END $$;

-- Notes the entries of the request in flight as lost: it may have acted, or still act (`may_land`). Users who may have been
-- created by it get a row without acknowledged values.
CREATE FUNCTION lose_request_in_flight(of_account text, may_land boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lost (account, user_id, operation, name, phone, lost_at, may_land_until)
    SELECT account, user_id, operation, name, phone, now(), CASE WHEN may_land THEN now() + lands_within ELSE now() END
    FROM in_flight_entries WHERE account = of_account
    ON CONFLICT (user_id, account, operation, COALESCE(name, ''), COALESCE(phone, ''))
    DO UPDATE SET lost_at = now(), may_land_until = GREATEST(lost.may_land_until, excluded.may_land_until);

    INSERT INTO users (account, user_id)
    SELECT account, user_id FROM in_flight_entries WHERE account = of_account AND operation = 'upsert'
    ON CONFLICT (user_id, account) DO NOTHING;
END $$;

CREATE FUNCTION acknowledge_upserts(of_account text, in_cycle bigint) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    entries in_flight_entries[] := ARRAY(SELECT entry FROM in_flight_entries AS entry WHERE account = of_account);
    user_ids text[] := ARRAY(SELECT user_id FROM unnest(entries));
    -- An approval is used up by what was approved, not by a phone that is given up first.
    used_up holds[] := ARRAY(SELECT hold FROM holds AS hold
        WHERE user_id = ANY (ARRAY(SELECT user_id FROM unnest(entries) WHERE change NOT IN ('release', 'resend')))
            AND kind IN ('update', 'takeover') AND account = of_account AND approved_at IS NOT NULL);
BEGIN
    INSERT INTO history (account, cycle_id, at, user_id, operation, outcome, approved_by,
        name_before, phone_before, name_after, phone_after)
    SELECT of_account, in_cycle, now(), entry.user_id, entry.change, 'delivered',
        (SELECT approved_by FROM unnest(used_up) AS hold WHERE hold.user_id = entry.user_id LIMIT 1),
        before.name, before.phone, entry.name, entry.phone
    FROM unnest(entries) AS entry
    LEFT JOIN LATERAL (SELECT name, phone FROM users WHERE user_id = entry.user_id AND account = of_account LIMIT 1)
        AS before ON true;

    INSERT INTO users (account, user_id, name, phone, phone_spelling, synced_at)
    SELECT of_account, user_id, name, phone, phone_spelling, now() FROM unnest(entries)
    ON CONFLICT (user_id, account) DO UPDATE SET name = excluded.name, phone = excluded.phone,
        phone_spelling = excluded.phone_spelling, synced_at = excluded.synced_at;

    PERFORM settle(of_account, user_ids);

    DELETE FROM holds WHERE account = of_account AND (user_id, kind) IN (SELECT user_id, kind FROM unnest(used_up));
END $$;

-- `already_absent`: users of the removal in flight who had been gone before.
CREATE FUNCTION acknowledge_removals(of_account text, in_cycle bigint, already_absent text[]) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    user_ids text[] := ARRAY(SELECT user_id FROM in_flight_entries WHERE account = of_account);
BEGIN
    INSERT INTO history (account, cycle_id, at, user_id, operation, outcome, approved_by, name_before)
    SELECT of_account, in_cycle, now(), removed.user_id, 'remove',
        CASE WHEN removed.user_id = ANY (already_absent) THEN 'absent' ELSE 'delivered' END,
        (SELECT approved_by FROM holds AS hold WHERE hold.user_id = removed.user_id AND hold.account = of_account
            AND hold.kind = 'remove' AND hold.approved_at IS NOT NULL),
        (SELECT before.name FROM users AS before WHERE before.user_id = removed.user_id AND before.account = of_account)
    FROM unnest(user_ids) AS removed (user_id);

    PERFORM settle(of_account, user_ids);

    DELETE FROM failures WHERE account = of_account AND user_id = ANY (user_ids);

    -- Whom a lost upsert may bring back keeps a row without acknowledged values, and the approval of the removal.
    UPDATE users SET name = NULL, phone = NULL, phone_spelling = NULL, synced_at = now()
    WHERE account = of_account AND user_id = ANY (user_ids);
    DELETE FROM users WHERE account = of_account AND user_id = ANY (user_ids) AND NOT EXISTS (SELECT FROM lost
        WHERE lost.user_id = users.user_id AND lost.account = of_account AND lost.operation = 'upsert');
    DELETE FROM holds WHERE account = of_account AND user_id = ANY (user_ids) AND NOT EXISTS (SELECT FROM users
        WHERE users.user_id = holds.user_id AND users.account = of_account);
END $$;

-- What was lost of these users is settled as far as it could no longer land when the acknowledged request was sent.
CREATE FUNCTION settle(of_account text, user_ids text[]) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    DELETE FROM lost WHERE account = of_account AND user_id = ANY (user_ids)
        AND may_land_until <= (SELECT started_at FROM in_flight WHERE account = of_account);
END $$;
