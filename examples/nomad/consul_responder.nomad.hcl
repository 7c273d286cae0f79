# The responder of docs/recovery.md, beside the agent of the host on which it is started: one for a cluster, never two. The image has no shell, so that
# its actions are those that need no hook. The token may write to operator; the secret is what Alertmanager sends.
#
#   nomad var put nomad/jobs/consul_responder token=... secret=...
job "consul_responder" {
  type = "service"

  group "responder" {
    count = 1

    network {
      mode = "host"
      port "http" {
        static = 9108
      }
    }

    # For the history: what was done must outlive the allocation, or it is done again. A host volume of the client is safer yet.
    ephemeral_disk {
      sticky  = true
      migrate = true
      size    = 300
    }

    service {
      name     = "consul-responder"
      port     = "http"
      provider = "nomad"

      check {
        type     = "http"
        path     = "/-/healthy"
        interval = "15s"
        timeout  = "5s"
      }
    }

    task "responder" {
      driver       = "docker"
      user         = "65532:65532"
      kill_timeout = "70s"

      config {
        # Not published yet: build it from the Dockerfile, push it to your registry, and name it here.
        image        = "ghcr.io/zervigo/consul_cluster_exporter:1.0.0"
        network_mode = "host"
        ports        = ["http"]
        args = [
          "responder",
          "--config.file=${NOMAD_SECRETS_DIR}/responder.yml",
          "--consul.server=http://localhost:8500",
          "--consul.token-file=${NOMAD_SECRETS_DIR}/token",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--log.format=json",
        ]
        cap_drop        = ["ALL"]
        readonly_rootfs = true
      }

      template {
        data        = <<-CONFIG
          secret_file: secret
          expected_servers: 3
          history:
            file: {{ env "NOMAD_ALLOC_DIR" }}/data/history.jsonl
          rules:
            - name: slow-leader
              cluster: production
              matchers: [alertname="ConsulRaftCommitSlow"]
              action:
                transfer-leadership: {}
        CONFIG
        destination = "${NOMAD_SECRETS_DIR}/responder.yml"
        uid         = 65532
        perms       = "0400"
        change_mode = "restart"
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/consul_responder\" }}{{ .token }}{{ end }}"
        destination = "${NOMAD_SECRETS_DIR}/token"
        uid         = 65532
        perms       = "0400"
        change_mode = "noop"
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/consul_responder\" }}{{ .secret }}{{ end }}"
        destination = "${NOMAD_SECRETS_DIR}/secret"
        uid         = 65532
        perms       = "0400"
        change_mode = "noop"
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
