// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"fmt"
	"strings"
)

const answerNodes = 100

// CatalogAnswer returns what Consul 1.22 answers for /v1/internal/ui/nodes with a catalog like that of LoadCatalog,
// for tests and benchmarks that are about reading it. Instances must be a multiple of 100.
func CatalogAnswer(services, instances int) []byte { return CatalogAnswerWith(services, instances, 0) }

// CatalogAnswerWith is CatalogAnswer with so many more bytes in the output of each check of a service.
func CatalogAnswerWith(services, instances, output int) []byte {
	more := strings.Repeat("x", output)
	var b strings.Builder
	each := instances / answerNodes
	for n := range answerNodes {
		fmt.Fprintf(&b, `%c{"ID":"5c0e2b1a-0000-4000-8000-%012d","Node":"node-%03d","Address":"10.0.0.%d",`+
			`"TaggedAddresses":{"lan":"10.0.0.%[4]d","lan_ipv4":"10.0.0.%[4]d","wan":"10.0.0.%[4]d","wan_ipv4":"10.0.0.%[4]d"},`+
			`"Meta":{"consul-network-segment":"","consul-version":"1.22.5"},"Services":[`, "[,"[min(n, 1)], n, n, n)
		for i := range each {
			answerInstance(&b, n*each+i, services, i == 0)
		}
		fmt.Fprintf(&b, `],"Checks":[{"Node":"node-%03d","CheckID":"serfHealth","Name":"Serf Health Status",`+
			`"Status":"passing","Notes":"","Output":"Agent alive and reachable","ServiceID":"","ServiceName":"",`+
			`"ServiceTags":[],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},`+
			`"CreateIndex":14,"ModifyIndex":14}`, n)
		for i := range each {
			answerCheck(&b, n, n*each+i, services, more)
		}
		b.WriteString("]}")
	}
	b.WriteString("]")
	return []byte(b.String())
}

// answerInstance writes instance k; services take turns.
func answerInstance(b *strings.Builder, k, services int, first bool) {
	if !first {
		b.WriteByte(',')
	}
	name := fmt.Sprintf("web-%04d", k%services)
	fmt.Fprintf(b, `{"ID":"%s-%d","Service":%[1]q,"Tags":["v%[3]d","zone-%[4]d","primary"],"Address":"10.1.2.3",`+
		`"TaggedAddresses":{"lan_ipv4":{"Address":"10.1.2.3","Port":8080},"wan_ipv4":{"Address":"10.1.2.3","Port":8080}},`+
		`"Meta":{"team":"payments","version":"1.%[3]d"},"Port":8080,"Weights":{"Passing":1,"Warning":1},`+
		`"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"",`+
		`"CreateIndex":%[5]d,"ModifyIndex":%[5]d}`,
		name, k, k%20, k%3, k+20)
}

func answerCheck(b *strings.Builder, node, k, services int, more string) {
	name := fmt.Sprintf("web-%04d", k%services)
	fmt.Fprintf(b, `,{"Node":"node-%03d","CheckID":"service:%[2]s-%[3]d","Name":"Service '%[2]s' check",`+
		`"Status":"passing","Notes":"","Output":"HTTP GET http://10.1.2.3:8080/health: 200 OK Output: ok%[7]s",`+
		`"ServiceID":"%[2]s-%[3]d","ServiceName":%[2]q,"ServiceTags":["v%[4]d","zone-%[5]d","primary"],"Type":"http",`+
		`"Interval":"10s","Timeout":"1s","ExposedPort":0,"Definition":{},"CreateIndex":%[6]d,"ModifyIndex":%[6]d}`,
		node, name, k, k%20, k%3, k+20, more)
}
