# For docker compose --profile cluster: three nodes that find each other. Clear text, on the host's loopback and the
# network of the composition only; what the nodes say to each other is inside TLS of their own all the same.
storage "raft" {
  path = "/var/lib/caveau"
  retry_join {
    auto_join        = "caveau-cluster"
    auto_join_scheme = "http"
  }
}

listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}
