-- The sample CRM of compose.yaml: a table of employees, a role that reads it, and a role that keeps our state.

CREATE ROLE crm_reader LOGIN PASSWORD 'sample-only';
ALTER ROLE crm_reader SET default_transaction_read_only = on;

-- Owns one schema, and has no other right.
CREATE ROLE wazzup_sync LOGIN PASSWORD 'sample-only';
CREATE SCHEMA wazzup_sync AUTHORIZATION wazzup_sync;

CREATE TABLE public.employees (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    full_name text NOT NULL,
    phone text,
    is_active boolean NOT NULL DEFAULT true
);

GRANT SELECT ON public.employees TO crm_reader;

-- Optional: a change is in Wazzup within seconds, not only with the next poll.
CREATE FUNCTION public.employees_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY employees_changed;
    RETURN NULL;
END $$;

CREATE TRIGGER employees_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.employees
    FOR EACH STATEMENT EXECUTE FUNCTION public.employees_changed();

INSERT INTO public.employees (full_name, phone, is_active) VALUES
    ('Anna Orlova', '+7 (926) 123-45-01', true),
    ('Boris Sokolov', '8 926 123-45-02', true),
    ('Vera Lebedeva', '79261234503', true),
    ('Gleb Morozov', NULL, true),
    ('Daria Volkova', 'ask at the front desk', true),
    ('Egor Zaitsev', '+7 926 123-45-06', false);
