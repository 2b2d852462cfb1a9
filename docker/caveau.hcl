# For docker compose: clear text, on the host's loopback only. With anything else between, give the
# listener a certificate (docs/server.md) and drop tls_disable.
storage "sqlite" {
  path = "/var/lib/caveau"
}

listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}

api_addr = "http://127.0.0.1:8200"
