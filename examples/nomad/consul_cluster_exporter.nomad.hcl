# One exporter, beside the agent of the host on which it is started. The token's policy is in README.md; put the token where the template
# finds it, or leave out the template and its flag:
#
#   nomad var put nomad/jobs/consul_cluster_exporter token=...
job "consul_cluster_exporter" {
  type = "service"

  group "exporter" {
    count = 1

    network {
      # To reach the agent on this host, and every server as the host does.
      mode = "host"
      port "http" {
        static = 9107
      }
    }

    # For the state file: what is remembered of servers that are gone.
    ephemeral_disk {
      sticky  = true
      migrate = true
      size    = 110
    }

    service {
      name     = "consul-cluster-exporter"
      port     = "http"
      provider = "nomad" # Not "consul": it has to be found when Consul is broken.

      check {
        type     = "http"
        path     = "/-/healthy"
        interval = "15s"
        timeout  = "5s"
      }
    }

    task "exporter" {
      driver = "docker"
      user   = "65532:65532"

      config {
        # Not published yet: build it from the Dockerfile, push it to your registry, and name it here.
        image        = "ghcr.io/zervigo/consul_cluster_exporter:1.0.0"
        network_mode = "host"
        ports        = ["http"]
        args = [
          "--consul.server=http://localhost:8500",
          "--consul.token-file=${NOMAD_SECRETS_DIR}/token",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--state.file=${NOMAD_ALLOC_DIR}/data/consul_cluster_exporter.json",
          "--log.format=json",
        ]
        cap_drop        = ["ALL"]
        readonly_rootfs = true
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/consul_cluster_exporter\" }}{{ .token }}{{ end }}"
        destination = "${NOMAD_SECRETS_DIR}/token"
        uid         = 65532
        perms       = "0400"
        change_mode = "noop" # The exporter reads it again.
      }

      env {
        GOMEMLIMIT = "250MiB"
      }

      resources {
        cpu    = 100
        memory = 300
      }
    }
  }
}
