"""Operators' variable names that the settings tree understands, as data.

Sources: HTTP gateway contract, sections 1.3 to 1.5; agent platform contract, section 2.3. Names of
these families that are not listed are ignored, as the contracts ask.
"""

OPERATOR_NAMES: tuple[tuple[str, str], ...] = (
    # Variable -> path in the tree. Where two name one path and both are set, the later row wins.
    ("DUO_WORKFLOW_SERVICE_ENVIRONMENT", "environment"),
    ("AIGW_ENVIRONMENT", "environment"),
    ("WEB_CONCURRENCY", "workers"),
    ("AIGW_FASTAPI__API_HOST", "http.host"),
    ("AIGW_FASTAPI__API_PORT", "http.port"),
    ("AIGW_FASTAPI__METRICS_HOST", "http.metrics_host"),
    ("AIGW_FASTAPI__METRICS_PORT", "http.metrics_port"),
    ("AIGW_FASTAPI__DOCS_URL", "http.docs_url"),
    ("AIGW_FASTAPI__OPENAPI_URL", "http.openapi_url"),
    ("AIGW_FASTAPI__REDOC_URL", "http.redoc_url"),
    ("FORWARDED_ALLOW_IPS", "http.trusted_proxies"),
    ("AIGW_FASTAPI__TLS__ENABLED", "http.tls.enabled"),
    ("AIGW_FASTAPI__TLS__CERT_FILE", "http.tls.cert_file"),
    ("AIGW_FASTAPI__TLS__KEY_FILE", "http.tls.key_file"),
    ("PORT", "grpc.port"),
    ("PROMETHEUS_METRICS__ADDR", "grpc.metrics_host"),
    ("PROMETHEUS_METRICS__PORT", "grpc.metrics_port"),
    ("DUO_WORKFLOW_GRPC_REFLECTION_ENABLED", "grpc.reflection"),
    ("DUO_WORKFLOW_TLS__ENABLED", "grpc.tls.enabled"),
    ("DUO_WORKFLOW_TLS__CERT_FILE", "grpc.tls.cert_file"),
    ("DUO_WORKFLOW_TLS__KEY_FILE", "grpc.tls.key_file"),
    ("DUO_WORKFLOW_AUTH__ENABLED", "auth.enabled"),
    ("AIGW_CLOUD_CONNECTOR_SERVICE_NAME", "auth.service_name"),
    ("DUO_WORKFLOW_CLOUD_CONNECTOR_SERVICE_NAME", "auth.platform_service_name"),
    ("AIGW_GITLAB_URL", "auth.gitlab_url"),
    ("AIGW_CUSTOMER_PORTAL_URL", "auth.customer_portal_url"),
    ("DUO_WORKFLOW_AUTH__OIDC_GITLAB_URL", "auth.platform_gitlab_url"),
    ("DUO_WORKFLOW_AUTH__OIDC_CUSTOMER_PORTAL_URL", "auth.platform_customer_portal_url"),
    ("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", "auth.signing_key"),
    ("AIGW_SELF_SIGNED_JWT__VALIDATION_KEY", "auth.validation_key"),
    ("DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY", "auth.platform_signing_key"),
    ("DUO_WORKFLOW_SELF_SIGNED_JWT__VALIDATION_KEY", "auth.platform_validation_key"),
    ("AIGW_AUTH__BYPASS_EXTERNAL", "auth.bypass_external"),
    ("AIGW_AUTH__BYPASS_EXTERNAL_WITH_HEADER", "auth.bypass_external_with_header"),
    ("AIGW_AUTH__BYPASS_JWT_SIGNATURE", "auth.bypass_jwt_signature"),
    ("ANTHROPIC_API_KEY", "providers.anthropic.api_key"),
    ("OPENAI_API_KEY", "providers.openai.api_key"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "providers.vertex.credentials_file"),
    ("AIGW_GOOGLE_CLOUD_PLATFORM__SERVICE_ACCOUNT_JSON_KEY", "providers.vertex.credentials"),
    ("AIGW_GOOGLE_CLOUD_PLATFORM__PROJECT", "providers.vertex.project"),
    ("AIGW_VERTEX_TEXT_MODEL__PROJECT", "providers.vertex.project"),
    ("AIGW_VERTEX_TEXT_MODEL__LOCATION", "providers.vertex.location"),
    ("VERTEXAI_LOCATION", "providers.vertex.location"),
    ("AIGW_VERTEX_TEXT_MODEL__ENDPOINT", "providers.vertex.endpoint"),
    ("AWS_ACCESS_KEY_ID", "providers.bedrock.access_key_id"),
    ("AWS_SECRET_ACCESS_KEY", "providers.bedrock.secret_access_key"),
    ("AWS_SESSION_TOKEN", "providers.bedrock.session_token"),
    ("AWS_BEARER_TOKEN_BEDROCK", "providers.bedrock.bearer_token"),
    ("AWS_REGION", "providers.bedrock.region"),
    ("AWS_REGION_NAME", "providers.bedrock.region"),
    ("AIGW_BEDROCK_GUARDRAIL_CONFIG", "providers.bedrock.guardrail"),
    ("MISTRAL_API_KEY", "providers.mistral.api_key"),
    ("AIGW_MODEL_KEYS__MISTRAL_API_KEY", "providers.mistral.api_key"),
    ("FIREWORKS_API_KEY", "providers.fireworks.api_key"),
    ("AIGW_MODEL_KEYS__FIREWORKS_PROVIDER_API_KEY", "providers.fireworks.api_key"),
    ("AIGW_FIREWORKS_API_BASE_URL", "providers.fireworks.base_url"),
    ("DUO_WORKFLOW_GITLAB_SSL_CA_FILE", "outbound.ca_file"),
    # OpenSSL reads SSL_CERT_FILE and SSL_CERT_DIR itself: with both rows set, all are trusted.
    ("SSL_CERT_FILE", "outbound.ca_file"),
    ("REQUESTS_CA_BUNDLE", "outbound.ca_file"),
    ("AIGW_MTLS__CA_BUNDLE", "outbound.ca_file"),
    ("AIGW_MTLS__VERIFY", "outbound.verify"),
    ("AIGW_MTLS__CERT_FILE", "outbound.client_cert_file"),
    ("AIGW_MTLS__KEY_FILE", "outbound.client_key_file"),
    ("AIGW_MTLS__KEY_PASSWORD", "outbound.client_key_password"),
    ("HTTPS_PROXY", "outbound.proxy_url"),
    ("NO_PROXY", "outbound.no_proxy"),
    ("AIGW_MODEL_SELECTION__MODEL_PARAMS", "models.params"),
    ("AIGW_CUSTOM_MODELS__EXTRA_HEADERS", "models.custom_headers"),
    ("AIGW_DUO_CHAT__MAX_TOKENS", "models.chat_max_tokens"),
    ("AIGW_DUO_CHAT__MODEL_REQUEST_TIMEOUT", "models.chat_timeout_s"),
    ("AIGW_MODEL_ENGINE_LIMITS", "models.engine_limits"),
    ("AIGW_MOCK_MODEL_RESPONSES", "models.mock"),
    ("AIGW_MODEL_SELECTION__DEFAULT_MODELS", "models.defaults"),
    ("AIGW_CUSTOM_MODELS__ENABLED", "models.custom_enabled"),
    ("RUNWAY_REGION", "gateway.region"),
    ("AIGW_GOOGLE_CLOUD_PLATFORM__LOCATION", "gateway.region"),
    ("AIGW_PROXY_ENDPOINTS__SELF_MANAGED_ENABLED", "gateway.proxy_self_managed"),
    ("AIGW_PROXY_ENDPOINTS__SAAS_ENABLED", "gateway.proxy_saas"),
    ("AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS", "gateway.disallowed_flags"),
    ("AIGW_FEATURE_FLAGS__EXCL_POST_PROCESS", "gateway.skipped_post_processing"),
    ("AIGW_FEATURE_FLAGS__FIREWORKS_SCORE_THRESHOLD", "gateway.score_thresholds"),
    (
        "AIGW_PROCESS_LEVEL_FEATURE_FLAGS__DUO_CLASSIC_CHAT_DUO_CORE_CUTOFF",
        "gateway.duo_core_cutoff",
    ),
    ("CUSTOMER_PORTAL_USAGE_QUOTA_API_USER", "quota.api_user"),
    ("CUSTOMER_PORTAL_USAGE_QUOTA_API_TOKEN", "quota.api_token"),
    *(
        (f"AIGW_{family}__{name}", f"events.{branch}.{name.lower()}")
        for family, branch in (
            ("INTERNAL_EVENT", "product"),
            ("BILLING_EVENT", "billing"),
            ("SNOWPLOW", "suggestions"),
        )
        for name in ("ENABLED", "APP_ID", "NAMESPACE", "ENDPOINT", "BATCH_SIZE")
    ),
    ("DUO_AGENT_PLATFORM_SERVICE_SECURE", "platform.secure"),
    ("DUO_WORKFLOW_LOGGING__LEVEL", "logging.level"),
    ("DUO_WORKFLOW_LOGGING__JSON_FORMAT", "logging.json_lines"),
    ("DUO_WORKFLOW_LOGGING__TO_FILE", "logging.file"),
    ("AIGW_LOGGING__LEVEL", "logging.level"),
    ("AIGW_LOGGING__FORMAT_JSON", "logging.json_lines"),
    ("AIGW_LOGGING__TO_FILE", "logging.file"),
    ("AIGW_LOGGING__ENABLE_REQUEST_LOGGING", "logging.payloads"),
    ("DUO_WORKFLOW_SHUTDOWN_GRACE_PERIOD_S", "drain.deadline_s"),
)

SWITCHES: tuple[tuple[str, str, str, bool], ...] = (
    # Variable, path of a list, what it takes out of the list's default, and whether when it is on.
    ("DISABLE_AI_GATEWAY", "transports", "http", True),
    ("ENABLE_DUO_WORKFLOW_SERVICE", "transports", "grpc", False),
)

PREFIX = "ISTHMUS_"
"""Our own variables: the prefix, then the path in capitals with `__` between its parts."""

OTHER_NAMES = frozenset({"ISTHMUS_CONFIG", "ISTHMUS_TOKEN"})
"""Variables with our prefix that are not part of the tree."""

INJECTED_NAME = r"ISTHMUS_(?:[A-Z0-9]+_)*(?:SERVICE_HOST|SERVICE_PORT|PORT)(?:_[A-Z0-9]+)*"
"""Kubernetes adds such variables to every pod beside a service whose name begins with `isthmus`."""
