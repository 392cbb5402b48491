-- The state of wazzup-sync. Every table has the account's name: many accounts share one database.
-- Times are on this database's clock. No foreign keys: every write holds the account's row by the lease, and a check for
-- each row would make recording a batch a third dearer. Keys begin with the user: by the account first, a planner without
-- statistics would look at all users of the account for each batch.

CREATE TABLE accounts (
    account             text PRIMARY KEY,
    -- The lease: who may write, until when. The fencing token grows with each new holder.
    lease_holder        text,
    lease_host          text,
    lease_token         bigint NOT NULL DEFAULT 0,
    lease_expires_at    timestamptz,
    -- The last cycle, quiet ones included.
    cycle_id            bigint NOT NULL DEFAULT 0,
    last_started_at     timestamptz,
    last_finished_at    timestamptz,
    last_outcome        text CHECK (last_outcome IN ('in_sync', 'incomplete', 'failed')),
    last_error_kind     text,
    last_error          text,
    last_success_at     timestamptz,
    -- Its counts: eligible = in_sync + failing + waiting_for_seat + pending.
    eligible            bigint NOT NULL DEFAULT 0,
    in_sync             bigint NOT NULL DEFAULT 0,
    failing             bigint NOT NULL DEFAULT 0,
    waiting_for_seat    bigint NOT NULL DEFAULT 0,
    pending             bigint NOT NULL DEFAULT 0,
    missing_ids         bigint NOT NULL DEFAULT 0,
    -- The last comparison with Wazzup's own list.
    last_verified_at    timestamptz,
    verify_tried_at     timestamptz,
    seats_used          bigint,
    foreign_users       bigint,
    seats_limit         bigint,
    seats_counted_at    timestamptz
);

-- The snapshot: what Wazzup last acknowledged of each user that we manage.
CREATE TABLE users (
    account             text NOT NULL,
    user_id             text NOT NULL,
    -- As acknowledged; without a name it never was.
    name                text,
    phone               text,
    -- A fingerprint of how the CRM spelt the phone, so that it need not be read again.
    phone_spelling      bigint,
    synced_at           timestamptz,
    -- A request about it may have reached Wazzup and was not acknowledged: what it may have become.
    in_doubt_since      timestamptz,
    intended_names      text[] NOT NULL DEFAULT '{}',
    intended_phones     text[] NOT NULL DEFAULT '{}',
    -- When an upsert of it last ended without an answer.
    unknown_at          timestamptz,
    -- Wazzup's own list did not have it.
    missing_since       timestamptz,
    -- The CRM does not have it; the brake holds its removal; an operator approved that.
    absent_since        timestamptz,
    held_since          timestamptz,
    removal_approved_at timestamptz,
    -- Removed, and to be removed once more at this time, because an upsert may have landed after the removal.
    remove_again_at     timestamptz,
    -- An operator wants it sent again.
    resend_at           timestamptz,
    PRIMARY KEY (user_id, account)
);

CREATE TABLE failures (
    account             text NOT NULL,
    user_id             text NOT NULL,
    operation           text NOT NULL CHECK (operation IN ('upsert', 'remove', 'phone', 'seat')),
    -- Found in the CRM's own rows: no ladder.
    local               boolean NOT NULL,
    code                text NOT NULL,
    detail              text NOT NULL,
    request_id          text,
    attempted_name      text,
    attempted_phone     text,
    attempts            integer NOT NULL,
    first_at            timestamptz NOT NULL,
    last_at             timestamptz NOT NULL,
    next_attempt_at     timestamptz,
    PRIMARY KEY (user_id, operation, account)
);

-- A row for each cycle that did or failed something.
CREATE TABLE cycles (
    account             text NOT NULL,
    cycle_id            bigint NOT NULL,
    started_at          timestamptz NOT NULL,
    finished_at         timestamptz NOT NULL,
    outcome             text NOT NULL,
    error_kind          text,
    error               text,
    requests            bigint NOT NULL,
    added               bigint NOT NULL,
    updated             bigint NOT NULL,
    removed             bigint NOT NULL,
    held                bigint NOT NULL,
    PRIMARY KEY (account, cycle_id)
);

-- A row for each user and delivered change.
CREATE TABLE history (
    account             text NOT NULL,
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cycle_id            bigint NOT NULL,
    at                  timestamptz NOT NULL,
    user_id             text NOT NULL,
    operation           text NOT NULL CHECK (operation IN ('add', 'update', 'release', 'remove', 'forget')),
    outcome             text NOT NULL CHECK (outcome IN ('delivered', 'absent')),
    -- Of removals: the brake does not count approved ones.
    approved            boolean NOT NULL,
    name_before         text,
    phone_before        text,
    name_after          text,
    phone_after         text
);

CREATE INDEX history_of_a_user ON history (account, user_id, at);
CREATE INDEX history_removals ON history (account, at) WHERE operation = 'remove';
-- Rows come in the order of their age, which is all that a BRIN index needs.
CREATE INDEX history_by_age ON history USING brin (at);
CREATE INDEX cycles_by_age ON cycles (account, finished_at);
