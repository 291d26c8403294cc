CREATE TABLE alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE checkpoint_blobs (
    thread_id text NOT NULL COLLATE pg_catalog."C",
    ns text NOT NULL COLLATE pg_catalog."C",
    channel text NOT NULL COLLATE pg_catalog."C",
    grp bigint NOT NULL,
    seq bigint NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE checkpoint_writes (
    thread_id text NOT NULL COLLATE pg_catalog."C",
    ns text NOT NULL COLLATE pg_catalog."C",
    checkpoint_id text NOT NULL COLLATE pg_catalog."C",
    task_id text NOT NULL COLLATE pg_catalog."C",
    idx bigint NOT NULL,
    channel text NOT NULL,
    task_path text NOT NULL COLLATE pg_catalog."C",
    data bytea NOT NULL
);
CREATE TABLE checkpoints (
    thread_id text NOT NULL COLLATE pg_catalog."C",
    ns text NOT NULL COLLATE pg_catalog."C",
    checkpoint_id text NOT NULL COLLATE pg_catalog."C",
    parent_id text COLLATE pg_catalog."C",
    header bytea NOT NULL,
    metadata bytea NOT NULL,
    refs text NOT NULL
);
CREATE TABLE counters (
    name text NOT NULL COLLATE pg_catalog."C",
    value bigint NOT NULL
);
CREATE TABLE flags (
    name text NOT NULL COLLATE pg_catalog."C",
    by_default boolean NOT NULL,
    namespaces text NOT NULL,
    users text NOT NULL
);
CREATE TABLE flow_events (
    id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    scope text NOT NULL COLLATE pg_catalog."C",
    event_type text NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    message text NOT NULL,
    correlation_id text COLLATE pg_catalog."C"
);
CREATE SEQUENCE flow_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE flow_events_id_seq OWNED BY flow_events.id;
CREATE TABLE members (
    user_id bigint NOT NULL,
    place_id bigint NOT NULL
);
CREATE TABLE places (
    id bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    path text NOT NULL,
    name text NOT NULL,
    full_path text NOT NULL,
    path_key text NOT NULL COLLATE pg_catalog."C",
    root_id bigint NOT NULL,
    description text NOT NULL,
    default_branch text NOT NULL,
    parent_id bigint,
    owner_id bigint
);
CREATE SEQUENCE places_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE places_id_seq OWNED BY places.id;
CREATE TABLE record_blobs (
    workflow_id bigint NOT NULL,
    current_thread bigint NOT NULL,
    channel text NOT NULL COLLATE pg_catalog."C",
    version text NOT NULL COLLATE pg_catalog."C",
    write_type text NOT NULL,
    step_action text NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE record_writes (
    id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    thread_ts text NOT NULL COLLATE pg_catalog."C",
    task text NOT NULL COLLATE pg_catalog."C",
    idx bigint NOT NULL,
    channel text NOT NULL,
    write_type text NOT NULL,
    data text NOT NULL
);
CREATE SEQUENCE record_writes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE record_writes_id_seq OWNED BY record_writes.id;
CREATE TABLE records (
    id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    thread_ts text NOT NULL COLLATE pg_catalog."C",
    ns_digest bytea NOT NULL,
    ns text NOT NULL,
    current_thread bigint NOT NULL,
    size_bytes bigint NOT NULL,
    metadata bytea NOT NULL,
    checkpoint bytea NOT NULL,
    parent_ts text COLLATE pg_catalog."C"
);
CREATE SEQUENCE records_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE records_id_seq OWNED BY records.id;
CREATE TABLE tokens (
    id bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    digest bytea NOT NULL,
    scopes text NOT NULL,
    name text NOT NULL,
    client_id text NOT NULL,
    details text NOT NULL,
    created_at_us bigint NOT NULL,
    user_id bigint,
    user_code text COLLATE pg_catalog."C",
    expires_at_us bigint,
    revoked_at_us bigint
);
CREATE SEQUENCE tokens_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE tokens_id_seq OWNED BY tokens.id;
CREATE TABLE usage (
    hour bigint NOT NULL,
    digest text NOT NULL COLLATE pg_catalog."C",
    instance text NOT NULL,
    namespace text NOT NULL,
    "user" text NOT NULL,
    token text NOT NULL,
    feature text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    deployment text NOT NULL,
    language text NOT NULL,
    outcome text NOT NULL,
    requests bigint NOT NULL,
    errors bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    cost bigint NOT NULL,
    unpriced bigint NOT NULL,
    duration_us bigint NOT NULL,
    first_bytes bigint NOT NULL,
    first_byte_us bigint NOT NULL,
    shown bigint NOT NULL,
    accepted bigint NOT NULL,
    rejected bigint NOT NULL,
    failed bigint NOT NULL,
    latency_00 bigint NOT NULL,
    latency_01 bigint NOT NULL,
    latency_02 bigint NOT NULL,
    latency_03 bigint NOT NULL,
    latency_04 bigint NOT NULL,
    latency_05 bigint NOT NULL,
    latency_06 bigint NOT NULL,
    latency_07 bigint NOT NULL,
    latency_08 bigint NOT NULL,
    latency_09 bigint NOT NULL,
    latency_10 bigint NOT NULL,
    latency_11 bigint NOT NULL,
    latency_12 bigint NOT NULL,
    latency_13 bigint NOT NULL,
    latency_14 bigint NOT NULL,
    latency_15 bigint NOT NULL,
    latency_16 bigint NOT NULL,
    latency_17 bigint NOT NULL,
    latency_18 bigint NOT NULL,
    latency_19 bigint NOT NULL,
    latency_20 bigint NOT NULL,
    latency_21 bigint NOT NULL,
    latency_22 bigint NOT NULL,
    latency_23 bigint NOT NULL
);
CREATE TABLE usage_batches (
    id text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE users (
    id bigint NOT NULL,
    username text NOT NULL,
    username_key text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    email text NOT NULL,
    global_id text NOT NULL COLLATE pg_catalog."C",
    admin boolean NOT NULL,
    active boolean NOT NULL,
    password text NOT NULL,
    created_at_us bigint NOT NULL,
    subject text COLLATE pg_catalog."C"
);
CREATE SEQUENCE users_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE users_id_seq OWNED BY users.id;
CREATE TABLE workflows (
    id bigint NOT NULL,
    definition text NOT NULL,
    goal text NOT NULL,
    owner text NOT NULL COLLATE pg_catalog."C",
    status integer NOT NULL,
    model text NOT NULL,
    created_at_us bigint NOT NULL,
    updated_at_us bigint NOT NULL,
    project_id bigint,
    namespace_id bigint,
    title text DEFAULT ''::text NOT NULL,
    summary text DEFAULT ''::text NOT NULL,
    flow text DEFAULT ''::text NOT NULL,
    job text DEFAULT ''::text NOT NULL,
    environment text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    terms text DEFAULT '{}'::text NOT NULL,
    approvals text DEFAULT '{}'::text NOT NULL
);
ALTER TABLE ONLY flow_events ALTER COLUMN id SET DEFAULT nextval('flow_events_id_seq'::regclass);
ALTER TABLE ONLY places ALTER COLUMN id SET DEFAULT nextval('places_id_seq'::regclass);
ALTER TABLE ONLY record_writes ALTER COLUMN id SET DEFAULT nextval('record_writes_id_seq'::regclass);
ALTER TABLE ONLY records ALTER COLUMN id SET DEFAULT nextval('records_id_seq'::regclass);
ALTER TABLE ONLY tokens ALTER COLUMN id SET DEFAULT nextval('tokens_id_seq'::regclass);
ALTER TABLE ONLY users ALTER COLUMN id SET DEFAULT nextval('users_id_seq'::regclass);
INSERT INTO alembic_version (version_num) VALUES ('0003');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', '__start__', 7839198211217832, 0, '\x007b226973223a7b22737461747573223a22457865637574696f6e222c22676f616c223a225b776f726b5d222c22706c616e223a7b227374657073223a5b5d7d2c22636f6e766572736174696f6e5f686973746f7279223a7b226167656e74223a5b7b22726f6c65223a2275736572222c2274657874223a225b776f726b5d227d5d7d2c2275695f636861745f6c6f67223a5b7b226d6573736167655f74797065223a2275736572222c226d6573736167655f7375625f74797065223a6e756c6c2c22636f6e74656e74223a225b776f726b5d222c2274696d657374616d70223a22323032362d31312d32365431313a32343a33342e3232343633322b30303a3030222c22737461747573223a6e756c6c2c22636f7272656c6174696f6e5f6964223a6e756c6c2c22746f6f6c5f696e666f223a6e756c6c2c226164646974696f6e616c5f636f6e74657874223a6e756c6c2c226d6573736167655f6964223a22757365722d65343565613261612d343936652d346235352d393232312d363966396166666265353264227d5d7d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'status', 623677553882580, 0, '\x007b226973223a22457865637574696f6e227d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'goal', 623677553882580, 0, '\x007b226973223a225b776f726b5d227d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'plan', 623677553882580, 0, '\x007b226973223a7b227374657073223a5b5d7d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'conversation_history', 623677553882580, 0, '\x007b226973223a7b226167656e74223a5b7b22726f6c65223a2275736572222c2274657874223a225b776f726b5d227d5d7d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'ui_chat_log', 623677553882580, 0, '\x007b226973223a5b7b226d6573736167655f74797065223a2275736572222c226d6573736167655f7375625f74797065223a6e756c6c2c22636f6e74656e74223a225b776f726b5d222c2274696d657374616d70223a22323032362d31312d32365431313a32343a33342e3232343633322b30303a3030222c22737461747573223a6e756c6c2c22636f7272656c6174696f6e5f6964223a6e756c6c2c22746f6f6c5f696e666f223a6e756c6c2c226164646974696f6e616c5f636f6e74657874223a6e756c6c2c226d6573736167655f6964223a22757365722d65343565613261612d343936652d346235352d393232312d363966396166666265353264227d5d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'branch:to:agent#agent', 623677553882580, 0, '\x007b226973223a6e756c6c7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'conversation_history', 623677553882580, 1, '\x007b2265616368223a7b226167656e74223a5b312c302c5b7b22726f6c65223a22617373697374616e74222c2274657874223a224f6e65206d6f6d656e742e222c22746f6f6c73223a5b7b226964223a22746f6f6c755f325f30222c226e616d65223a22726561645f66696c65222c22617267756d656e7473223a227b5c2266696c655f706174685c223a205c22524541444d452e6d645c227d227d5d2c22746f6b656e73223a31337d5d5d7d2c22676f6e65223a5b5d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'ui_chat_log', 623677553882580, 1, '\x007b2273706c696365223a5b312c302c5b7b226d6573736167655f74797065223a226167656e74222c226d6573736167655f7375625f74797065223a6e756c6c2c22636f6e74656e74223a224f6e65206d6f6d656e742e222c2274696d657374616d70223a22323032362d31312d32365431313a32343a33342e3235363039342b30303a3030222c22737461747573223a2273756363657373222c22636f7272656c6174696f6e5f6964223a6e756c6c2c22746f6f6c5f696e666f223a6e756c6c2c226164646974696f6e616c5f636f6e74657874223a6e756c6c2c226d6573736167655f6964223a226167656e742d36323132323130352d643966372d346662322d383266632d646139313933663162323063222c22636f6d706f6e656e745f6e616d65223a226167656e74227d5d5d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'branch:to:agent#tools', 8648186118562265, 0, '\x007b226973223a6e756c6c7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'conversation_history', 623677553882580, 2, '\x007b2265616368223a7b226167656e74223a5b322c302c5b7b22726f6c65223a22746f6f6c222c226964223a22746f6f6c755f325f30222c2274657874223a224120736d616c6c2070726f6a6563742e222c226661696c6564223a66616c73657d5d5d7d2c22676f6e65223a5b5d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'ui_chat_log', 623677553882580, 2, '\x007b2273706c696365223a5b322c302c5b7b226d6573736167655f74797065223a22746f6f6c222c226d6573736167655f7375625f74797065223a22726561645f66696c65222c22636f6e74656e74223a225265616420524541444d452e6d64222c2274696d657374616d70223a22323032362d31312d32365431313a32343a33342e3236333433392b30303a3030222c22737461747573223a2273756363657373222c22636f7272656c6174696f6e5f6964223a6e756c6c2c22746f6f6c5f696e666f223a7b226e616d65223a22726561645f66696c65222c2261726773223a7b2266696c655f70617468223a22524541444d452e6d64227d2c22746f6f6c5f726573706f6e7365223a224120736d616c6c2070726f6a6563742e227d2c226164646974696f6e616c5f636f6e74657874223a6e756c6c2c226d6573736167655f6964223a22746f6f6c755f325f30222c22636f6d706f6e656e745f6e616d65223a226167656e74227d5d5d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'branch:to:agent#agent', 657550691081078, 0, '\x007b226973223a6e756c6c7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'conversation_history', 623677553882580, 3, '\x007b2265616368223a7b226167656e74223a5b332c302c5b7b22726f6c65223a22617373697374616e74222c2274657874223a224f6e65206d6f6d656e742e222c22746f6f6c73223a5b7b226964223a22746f6f6c755f335f30222c226e616d65223a226c6973745f646972222c22617267756d656e7473223a227b5c226469726563746f72795c223a205c222e5c227d227d5d2c22746f6b656e73223a31337d5d5d7d2c22676f6e65223a5b5d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'ui_chat_log', 623677553882580, 3, '\x007b2273706c696365223a5b332c302c5b7b226d6573736167655f74797065223a226167656e74222c226d6573736167655f7375625f74797065223a6e756c6c2c22636f6e74656e74223a224f6e65206d6f6d656e742e222c2274696d657374616d70223a22323032362d31312d32365431313a32343a33342e3331363630382b30303a3030222c22737461747573223a2273756363657373222c22636f7272656c6174696f6e5f6964223a6e756c6c2c22746f6f6c5f696e666f223a6e756c6c2c226164646974696f6e616c5f636f6e74657874223a6e756c6c2c226d6573736167655f6964223a226167656e742d31303734613036642d623237652d346638382d396337622d303937323530373666326539222c22636f6d706f6e656e745f6e616d65223a226167656e74227d5d5d7d');
INSERT INTO checkpoint_blobs (thread_id, ns, channel, grp, seq, data) VALUES ('7', '', 'branch:to:agent#tools', 1404256708694424, 0, '\x007b226973223a6e756c6c7d');
INSERT INTO checkpoints (thread_id, ns, checkpoint_id, parent_id, header, metadata, refs) VALUES ('7', '', '1f1e98bf-4d28-6849-bfff-2449236be626', NULL, '\x7b2276223a342c226964223a2231663165393862662d346432382d363834392d626666662d323434393233366265363236222c227473223a22323032362d31312d32365431313a32343a33342e3233353938312b30303a3030222c226368616e6e656c5f76657273696f6e73223a7b225f5f73746172745f5f223a317d2c2276657273696f6e735f7365656e223a7b225f5f696e7075745f5f223a7b7d7d2c22757064617465645f6368616e6e656c73223a5b225f5f73746172745f5f225d7d', '\x7b22736f75726365223a22696e707574222c2273746570223a2d312c22706172656e7473223a7b7d7d', '[["__start__",7839198211217832,0]]');
INSERT INTO checkpoints (thread_id, ns, checkpoint_id, parent_id, header, metadata, refs) VALUES ('7', '', '1f1e98bf-4d2a-6dc2-8000-b6eb4478aeda', '1f1e98bf-4d28-6849-bfff-2449236be626', '\x7b2276223a342c226964223a2231663165393862662d346432612d366463322d383030302d623665623434373861656461222c227473223a22323032362d31312d32365431313a32343a33342e3233363935392b30303a3030222c226368616e6e656c5f76657273696f6e73223a7b225f5f73746172745f5f223a322c22737461747573223a322c22676f616c223a322c22706c616e223a322c22636f6e766572736174696f6e5f686973746f7279223a322c2275695f636861745f6c6f67223a322c226272616e63683a746f3a6167656e74236167656e74223a327d2c2276657273696f6e735f7365656e223a7b225f5f696e7075745f5f223a7b7d2c225f5f73746172745f5f223a7b225f5f73746172745f5f223a317d7d2c22757064617465645f6368616e6e656c73223a5b226272616e63683a746f3a6167656e74236167656e74222c22636f6e766572736174696f6e5f686973746f7279222c22676f616c222c22706c616e222c22737461747573222c2275695f636861745f6c6f67225d7d', '\x7b22736f75726365223a226c6f6f70222c2273746570223a302c22706172656e7473223a7b7d7d', '[["status",623677553882580,0],["goal",623677553882580,0],["plan",623677553882580,0],["conversation_history",623677553882580,0],["ui_chat_log",623677553882580,0],["branch:to:agent#agent",623677553882580,0]]');
INSERT INTO checkpoints (thread_id, ns, checkpoint_id, parent_id, header, metadata, refs) VALUES ('7', '', '1f1e98bf-4d5b-69e0-8001-22a59c640395', '1f1e98bf-4d2a-6dc2-8000-b6eb4478aeda', '\x7b2276223a342c226964223a2231663165393862662d346435622d363965302d383030312d323261353963363430333935222c227473223a22323032362d31312d32365431313a32343a33342e3235363932382b30303a3030222c226368616e6e656c5f76657273696f6e73223a7b225f5f73746172745f5f223a322c22737461747573223a332c22676f616c223a322c22706c616e223a322c22636f6e766572736174696f6e5f686973746f7279223a332c2275695f636861745f6c6f67223a332c226272616e63683a746f3a6167656e74236167656e74223a332c226272616e63683a746f3a6167656e7423746f6f6c73223a337d2c2276657273696f6e735f7365656e223a7b225f5f696e7075745f5f223a7b7d2c225f5f73746172745f5f223a7b225f5f73746172745f5f223a317d2c226167656e74236167656e74223a7b226272616e63683a746f3a6167656e74236167656e74223a327d7d2c22757064617465645f6368616e6e656c73223a5b226272616e63683a746f3a6167656e7423746f6f6c73222c22636f6e766572736174696f6e5f686973746f7279222c22737461747573222c2275695f636861745f6c6f67225d7d', '\x7b22736f75726365223a226c6f6f70222c2273746570223a312c22706172656e7473223a7b7d7d', '[["status",623677553882580,0],["goal",623677553882580,0],["plan",623677553882580,0],["conversation_history",623677553882580,1],["ui_chat_log",623677553882580,1],["branch:to:agent#tools",8648186118562265,0]]');
INSERT INTO checkpoints (thread_id, ns, checkpoint_id, parent_id, header, metadata, refs) VALUES ('7', '', '1f1e98bf-4d6d-649f-8002-9b2696b84cc4', '1f1e98bf-4d5b-69e0-8001-22a59c640395', '\x7b2276223a342c226964223a2231663165393862662d346436642d363439662d383030322d396232363936623834636334222c227473223a22323032362d31312d32365431313a32343a33342e3236343132332b30303a3030222c226368616e6e656c5f76657273696f6e73223a7b225f5f73746172745f5f223a322c22737461747573223a342c22676f616c223a322c22706c616e223a322c22636f6e766572736174696f6e5f686973746f7279223a342c2275695f636861745f6c6f67223a342c226272616e63683a746f3a6167656e74236167656e74223a342c226272616e63683a746f3a6167656e7423746f6f6c73223a347d2c2276657273696f6e735f7365656e223a7b225f5f696e7075745f5f223a7b7d2c225f5f73746172745f5f223a7b225f5f73746172745f5f223a317d2c226167656e74236167656e74223a7b226272616e63683a746f3a6167656e74236167656e74223a327d2c226167656e7423746f6f6c73223a7b226272616e63683a746f3a6167656e7423746f6f6c73223a337d7d2c22757064617465645f6368616e6e656c73223a5b226272616e63683a746f3a6167656e74236167656e74222c22636f6e766572736174696f6e5f686973746f7279222c22737461747573222c2275695f636861745f6c6f67225d7d', '\x7b22736f75726365223a226c6f6f70222c2273746570223a322c22706172656e7473223a7b7d7d', '[["status",623677553882580,0],["goal",623677553882580,0],["plan",623677553882580,0],["conversation_history",623677553882580,2],["ui_chat_log",623677553882580,2],["branch:to:agent#agent",657550691081078,0]]');
INSERT INTO checkpoints (thread_id, ns, checkpoint_id, parent_id, header, metadata, refs) VALUES ('7', '', '1f1e98bf-4df2-60a2-8003-16cef177c95f', '1f1e98bf-4d6d-649f-8002-9b2696b84cc4', '\x7b2276223a342c226964223a2231663165393862662d346466322d363061322d383030332d313663656631373763393566222c227473223a22323032362d31312d32365431313a32343a33342e3331383533392b30303a3030222c226368616e6e656c5f76657273696f6e73223a7b225f5f73746172745f5f223a322c22737461747573223a352c22676f616c223a322c22706c616e223a322c22636f6e766572736174696f6e5f686973746f7279223a352c2275695f636861745f6c6f67223a352c226272616e63683a746f3a6167656e74236167656e74223a352c226272616e63683a746f3a6167656e7423746f6f6c73223a357d2c2276657273696f6e735f7365656e223a7b225f5f696e7075745f5f223a7b7d2c225f5f73746172745f5f223a7b225f5f73746172745f5f223a317d2c226167656e74236167656e74223a7b226272616e63683a746f3a6167656e74236167656e74223a347d2c226167656e7423746f6f6c73223a7b226272616e63683a746f3a6167656e7423746f6f6c73223a337d7d2c22757064617465645f6368616e6e656c73223a5b226272616e63683a746f3a6167656e7423746f6f6c73222c22636f6e766572736174696f6e5f686973746f7279222c22737461747573222c2275695f636861745f6c6f67225d7d', '\x7b22736f75726365223a226c6f6f70222c2273746570223a332c22706172656e7473223a7b7d7d', '[["status",623677553882580,0],["goal",623677553882580,0],["plan",623677553882580,0],["conversation_history",623677553882580,3],["ui_chat_log",623677553882580,3],["branch:to:agent#tools",1404256708694424,0]]');
INSERT INTO counters (name, value) VALUES ('workflow', 0);
INSERT INTO places (id, kind, path, name, full_path, path_key, root_id, description, default_branch, parent_id, owner_id) VALUES (1, 'user', 'local', 'Local user', 'local', 'local', 1, '', '', NULL, 1);
INSERT INTO tokens (id, kind, digest, scopes, name, client_id, details, created_at_us, user_id, user_code, expires_at_us, revoked_at_us) VALUES (1, 'personal', '\xf838e18b161b718940a3060e6b9a98ba1db65f4597fe5b2b205ea90744bce1aa', 'api', 'laptop', '', '{}', 1795692261959008, 1, NULL, NULL, NULL);
INSERT INTO usage (hour, digest, instance, namespace, "user", token, feature, model, provider, deployment, language, outcome, requests, errors, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost, unpriced, duration_us, first_bytes, first_byte_us, shown, accepted, rejected, failed, latency_00, latency_01, latency_02, latency_03, latency_04, latency_05, latency_06, latency_07, latency_08, latency_09, latency_10, latency_11, latency_12, latency_13, latency_14, latency_15, latency_16, latency_17, latency_18, latency_19, latency_20, latency_21, latency_22, latency_23) VALUES (498803, '6f4c4a645e0d72634c7cf35e49905969', 'isthmus', '', 'u1', '', 'code_completions', 'claude-haiku-4-5-20251001', 'anthropic', 'anthropic/claude_haiku_4_5_20251001', 'python', 'ok', 1, 0, 11, 5, 0, 0, 0, 36, 0, 2752, 1, 1721, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO usage_batches (id) VALUES ('00001795692267259773-dccf35313722ae2e');
INSERT INTO users (id, username, username_key, name, email, global_id, admin, active, password, created_at_us, subject) VALUES (1, 'local', 'local', 'Local user', '', 'e5501bfb896498ddf210307e26dd5961', false, true, '', 1795692260541836, NULL);
INSERT INTO workflows (id, definition, goal, owner, status, model, created_at_us, updated_at_us, project_id, namespace_id, title, summary, flow, job, environment, terms, approvals) VALUES (7, 'chat', '[work]', 'u1', 1, '{"name":"claude_sonnet_4_6","provider":"gitlab","endpoint":null,"identifier":null}', 1795692274202012, 1795692274219704, NULL, NULL, '', '', '', '', '', '{"privileges":[1,2,3,4,5,6],"preapproved":[],"allow_agent_to_request_user":true,"environment":"","image":"","source_branch":"","issue_id":null,"merge_request_id":null,"catalog_item_version_id":null,"web_search":false,"incremental_checkpoints":false,"mcp":true}', '{}');
SELECT pg_catalog.setval('flow_events_id_seq', 1, false);
SELECT pg_catalog.setval('places_id_seq', 1, true);
SELECT pg_catalog.setval('record_writes_id_seq', 1, false);
SELECT pg_catalog.setval('records_id_seq', 1, false);
SELECT pg_catalog.setval('tokens_id_seq', 1, true);
SELECT pg_catalog.setval('users_id_seq', 1, true);
ALTER TABLE ONLY alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY checkpoint_blobs
    ADD CONSTRAINT checkpoint_blobs_pkey PRIMARY KEY (thread_id, ns, channel, grp, seq);
ALTER TABLE ONLY checkpoint_writes
    ADD CONSTRAINT checkpoint_writes_pkey PRIMARY KEY (thread_id, ns, checkpoint_id, task_id, idx);
ALTER TABLE ONLY checkpoints
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (thread_id, ns, checkpoint_id);
ALTER TABLE ONLY counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (name);
ALTER TABLE ONLY flags
    ADD CONSTRAINT flags_pkey PRIMARY KEY (name);
ALTER TABLE ONLY flow_events
    ADD CONSTRAINT flow_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY members
    ADD CONSTRAINT members_pkey PRIMARY KEY (user_id, place_id);
ALTER TABLE ONLY places
    ADD CONSTRAINT places_pkey PRIMARY KEY (id);
ALTER TABLE ONLY record_blobs
    ADD CONSTRAINT record_blobs_pkey PRIMARY KEY (workflow_id, current_thread, channel, version);
ALTER TABLE ONLY record_writes
    ADD CONSTRAINT record_writes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY records
    ADD CONSTRAINT records_pkey PRIMARY KEY (id);
ALTER TABLE ONLY tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);
ALTER TABLE ONLY usage_batches
    ADD CONSTRAINT usage_batches_pkey PRIMARY KEY (id);
ALTER TABLE ONLY usage
    ADD CONSTRAINT usage_pkey PRIMARY KEY (hour, digest);
ALTER TABLE ONLY users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);
ALTER TABLE ONLY workflows
    ADD CONSTRAINT workflows_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX flow_events_scope_correlation_id_idx ON flow_events USING btree (scope, correlation_id);
CREATE INDEX flow_events_workflow_id_status_id_idx ON flow_events USING btree (workflow_id, status, id);
CREATE UNIQUE INDEX places_owner_id_idx ON places USING btree (owner_id);
CREATE UNIQUE INDEX places_path_key_idx ON places USING btree (path_key);
CREATE UNIQUE INDEX record_writes_workflow_id_thread_ts_task_idx_idx ON record_writes USING btree (workflow_id, thread_ts, task, idx);
CREATE UNIQUE INDEX records_workflow_id_thread_ts_ns_digest_idx ON records USING btree (workflow_id, thread_ts, ns_digest);
CREATE UNIQUE INDEX tokens_digest_idx ON tokens USING btree (digest);
CREATE INDEX tokens_expires_at_us_idx ON tokens USING btree (expires_at_us);
CREATE INDEX tokens_user_code_idx ON tokens USING btree (user_code);
CREATE INDEX tokens_user_id_kind_id_idx ON tokens USING btree (user_id, kind, id);
CREATE UNIQUE INDEX users_global_id_idx ON users USING btree (global_id);
CREATE UNIQUE INDEX users_subject_idx ON users USING btree (subject);
CREATE UNIQUE INDEX users_username_key_idx ON users USING btree (username_key);
CREATE INDEX workflows_created_at_us_id_idx ON workflows USING btree (created_at_us, id);
CREATE INDEX workflows_owner_created_at_us_id_idx ON workflows USING btree (owner, created_at_us, id);
CREATE INDEX workflows_project_id_created_at_us_id_idx ON workflows USING btree (project_id, created_at_us, id);
CREATE INDEX workflows_status_updated_at_us_idx ON workflows USING btree (status, updated_at_us);
