"""Flags that many commands share: those of every request, and those of output."""

from __future__ import annotations

from .flags import Flag

HTTP = (
    Flag("address", "string", "Address of the server. The default is https://127.0.0.1:8200.", env="ADDR"),
    Flag("agent-address", "string", "Address of an agent to send requests to instead.", env="AGENT_ADDR"),
    Flag("ca-cert", "string", "File with the PEM-encoded CA certificate that signs the server's. "
         "Wins over -ca-path.", env="CACERT"),
    Flag("ca-path", "string", "Directory of PEM-encoded CA certificates.", env="CAPATH"),
    Flag("client-cert", "string", "File with the PEM-encoded certificate to show to the server; "
         "needs -client-key.", env="CLIENT_CERT"),
    Flag("client-key", "string", "File with the PEM-encoded private key of -client-cert.", env="CLIENT_KEY"),
    Flag("disable-redirects", "bool", "Do not follow a redirect. The default is to follow one.",
         env="DISABLE_REDIRECTS"),
    Flag("header", "key=value", "HTTP header to add to requests; may be repeated. "
         "Names that start with X-Vault- are refused."),
    Flag("mfa", "string", "MFA credentials, for the X-Vault-MFA header.", env="MFA"),
    Flag("namespace", "string", "Namespace to work in. -ns is short for it.", env="NAMESPACE", aliases=("ns",)),
    Flag("non-interactive", "bool", "Never ask for input on the terminal."),
    Flag("output-curl-string", "bool", "Print the request as a curl command instead of sending it."),
    Flag("output-policy", "bool", "Print a policy that allows the request instead of sending it."),
    Flag("policy-override", "bool", "Ask the server to override a soft-mandatory policy."),
    Flag("tls-server-name", "string", "Host name to expect in the server's certificate.", env="TLS_SERVER_NAME"),
    Flag("tls-skip-verify", "bool", "Do not verify the server's certificate. Anybody on the way can then "
         "read and change everything.", env="SKIP_VERIFY"),
    Flag("unlock-key", "string", "Key that unlocks a locked namespace."),
    Flag("wrap-ttl", "duration", 'Wrap the response in a token with this TTL ("30s", "5m"); '
         'see "caveau unwrap".', env="WRAP_TTL"),
)  # fmt: skip

FIELD = Flag("field", "string", "Print only this field, with no newline after it. Wins over the other "
             "output flags.")  # fmt: skip
FORMAT = Flag("format", "string", 'Output format: "table", "json" or "yaml"; "raw" for "caveau read". '
              "The default is table.", env="FORMAT")  # fmt: skip
DETAILED = Flag("detailed", "bool", "Show what the server knows about each entry.", env="DETAILED")
