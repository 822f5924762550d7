package alerts

import "fmt"

// alertTest is when an alert fires and when it does not. Series have a sample a minute.
type alertTest struct {
	alert string
	fires []string
	// minute in which it first fires, and what it says then.
	minute  int
	summary string
	silent  [][]string
}

var alertTests = []alertTest{
	{
		alert: "M2MNoReadyIssuer", minute: 15, summary: "The TokenIssuer default is not ready",
		fires: []string{ // both replicas say so
			`m2m_manager_token_issuer_ready{token_issuer="default",pod="a"} 1x9 0x50`,
			`m2m_manager_token_issuer_ready{token_issuer="default",pod="b"} 1x9 0x50`,
			`m2m_manager_token_issuer_ready{token_issuer="edge",pod="a"} 1x60`,
		},
		silent: [][]string{
			{`m2m_manager_token_issuer_ready{token_issuer="default"} 1x60`},
			{`m2m_manager_token_issuer_ready{token_issuer="default"} 0x4 1x4 0x4 1x50`},
			{`m2m_manager_token_issuer_ready{token_issuer="default",pod="behind"} 0x60`, `m2m_manager_token_issuer_ready{token_issuer="default",pod="b"} 1x60`},
		},
	},
	{
		alert: "M2MIssuersAbsent", minute: 15, summary: "No issuer that has seen everything is scraped",
		fires: []string{`m2m_issuer_synced{pod="a"} 1x9 0x50`, `m2m_issuer_synced{pod="b"} 1x9 stale`},
		silent: [][]string{
			{`m2m_issuer_synced{pod="a"} 0x60`, `m2m_issuer_synced{pod="b"} 1x60`},
		},
	},
	{
		alert: "M2MIssuersAbsent", minute: 15, summary: "No issuer of edge that has seen everything is scraped",
		fires: []string{ // the manager is away
			`m2m_issuer_synced{token_issuer="default",pod="a"} 1x60`,
			`m2m_issuer_synced{token_issuer="edge",pod="b"} 1x9 stale`,
			`m2m_issuer_synced{token_issuer="edge",pod="c"} 1x9 0x50`,
		},
		silent: [][]string{
			{`m2m_issuer_synced{token_issuer="default",pod="a"} 1x60`, `m2m_issuer_synced{token_issuer="edge",pod="b"} 1x9 stale`, `m2m_issuer_synced{token_issuer="edge",pod="c"} 1x60`},
			{`m2m_issuer_synced{token_issuer="default",pod="a"} 1x60`, `m2m_issuer_synced{token_issuer="edge",pod="b"} 0x60`}, // it has never been there
			{ // it was deleted: the manager would tell of it otherwise
				`m2m_issuer_synced{token_issuer="default",pod="a"} 1x60`, `m2m_issuer_synced{token_issuer="edge",pod="b"} 1x9 stale`,
				`m2m_manager_credential_rotation_overdue_seconds{pod="m"} 0x60`,
			},
		},
	},
	{
		alert: "M2MManagerNotLeading", minute: 15, summary: "No manager leads",
		fires: []string{
			`leader_election_master_status{name="m2m-manager",pod="a"} 1x9 0x50`,
			`leader_election_master_status{name="m2m-manager",pod="b"} 0x60`,
			`leader_election_master_status{name="somebody-elses",pod="c"} 1x60`,
		},
		silent: [][]string{
			{`leader_election_master_status{name="m2m-manager",pod="a"} 0x60`, `leader_election_master_status{name="m2m-manager",pod="b"} 1x60`},
			{`leader_election_master_status{name="m2m-manager",pod="a"} 1x9 0x50`, `leader_election_master_status{name="m2m-manager",pod="b"} 0x12 1x47`},
			{`leader_election_master_status{name="somebody-elses",pod="c"} 0x60`},
		},
	},
	{
		alert: "M2MManagerAbsent", minute: 20, summary: "No manager is scraped",
		fires: []string{`m2m_manager_credential_rotation_overdue_seconds{pod="a"} 0x9 stale`},
		silent: [][]string{
			{`m2m_manager_credential_rotation_overdue_seconds{pod="a"} 0x60`},
			{`m2m_manager_credential_rotation_overdue_seconds{pod="a"} 0x9 stale _x7 0x50`},
		},
	},
	{
		alert: "M2MIssuerStale", minute: 8, summary: "m2m-issuer-default-0 does not hear the API server",
		fires: []string{`m2m_issuer_watch_staleness_seconds{pod="m2m-issuer-default-0"} 0+60x60`},
		silent: [][]string{
			{`m2m_issuer_watch_staleness_seconds{pod="a"} 0x30 60x30`},
			{`m2m_issuer_watch_staleness_seconds{pod="a"} 300x60`},
		},
	},
	{
		alert: "M2MTooStale", minute: 6, summary: "m2m-issuer-default-0 refuses tokens because it knows too little of late",
		fires: []string{`m2m_issuer_too_stale{pod="m2m-issuer-default-0"} 0x4 1x50`},
		silent: [][]string{
			{`m2m_issuer_too_stale{pod="a"} 0x60`},
		},
	},
	{
		alert: "M2MServingFromSnapshot", minute: 7, summary: "m2m-issuer-default-0 serves from its snapshot",
		fires: []string{`m2m_issuer_serving_from_snapshot{pod="m2m-issuer-default-0"} 0x4 1x50`},
		silent: [][]string{
			{`m2m_issuer_serving_from_snapshot{pod="a"} 0x4 1x1 0x50`},
		},
	},
	{
		alert: "M2MSnapshotsFail", minute: 11, summary: "m2m-issuer-default-0 cannot write its snapshot",
		fires: []string{`m2m_issuer_snapshot_failures_total{pod="m2m-issuer-default-0"} 0x10 1x49`},
		silent: [][]string{
			{`m2m_issuer_snapshot_failures_total{pod="a"} 3x60`},
		},
	},
	{
		alert: "M2MOlderLists", minute: 11, summary: "The API server lists ScopeGrant older than what was known",
		fires: []string{`m2m_issuer_older_lists_total{pod="a",kind="ScopeGrant"} 0x10 1x49`, `m2m_issuer_older_lists_total{pod="a",kind="Secret"} 0x60`},
		silent: [][]string{
			{`m2m_issuer_older_lists_total{pod="a",kind="ScopeGrant"} 2x60`},
		},
	},
	{
		alert: "M2MKeyRotationOverdue", minute: 15, summary: "The rotation of the ES256 key of default hangs",
		fires: []string{`m2m_manager_key_rotation_overdue_seconds{token_issuer="default",algorithm="ES256"} 3060+60x60`},
		silent: [][]string{
			{`m2m_manager_key_rotation_overdue_seconds{token_issuer="default",algorithm="ES256"} 0+60x50`},
		},
	},
	{
		alert: "M2MCredentialRotationOverdue", minute: 15, summary: "The rotation of a client secret hangs",
		fires: []string{`m2m_manager_credential_rotation_overdue_seconds{pod="a"} 13860+60x60`, `m2m_manager_credential_rotation_overdue_seconds{pod="b"} 0x60`},
		silent: [][]string{
			{`m2m_manager_credential_rotation_overdue_seconds 0+60x60`},
		},
	},
	{
		alert: "M2MCertificateExpires", minute: 31, summary: "The serving certificate of default was not renewed",
		fires: []string{certificate(week + 20*60)},
		silent: [][]string{
			{certificate(week + 3600)},
			{certificate(0)}, // there is none yet
		},
	},
	{
		alert: "M2MCertificateExpiresSoon", minute: 26, summary: "The serving certificate of default ends within a day",
		fires: []string{certificate(day + 20*60)},
		silent: [][]string{
			{certificate(day + 3600)},
			{certificate(0)},
		},
	},
	{
		alert: "M2MErrorRatio", minute: 18, summary: "default fails 2% of its token requests",
		fires: []string{
			`m2m_issuer_token_requests_total{token_issuer="default",result="issued"} 0+980x60`,
			`m2m_issuer_token_requests_total{token_issuer="default",result="server_error"} 0x10 20+20x50`,
		},
		silent: [][]string{
			{`m2m_issuer_token_requests_total{token_issuer="default",result="issued"} 0+995x60`, `m2m_issuer_token_requests_total{token_issuer="default",result="temporarily_unavailable"} 0+5x60`},
			{`m2m_issuer_token_requests_total{token_issuer="default",result="issued"} 0+10x60`, `m2m_issuer_token_requests_total{token_issuer="default",result="invalid_client"} 0+990x60`},
			{`m2m_issuer_token_requests_total{token_issuer="default",result="issued"} 0x60`, `m2m_issuer_token_requests_total{token_issuer="default",result="server_error"} 0x60`},
		},
	},
	{
		alert: "M2MRefusalRatio", minute: 17, summary: "default refuses 75% of its token requests",
		fires: []string{
			`m2m_issuer_token_requests_total{token_issuer="default",result="issued"} 0+15x60`,
			`m2m_issuer_token_requests_total{token_issuer="default",result="invalid_client"} 0+45x60`,
		},
		silent: [][]string{
			{`m2m_issuer_token_requests_total{token_issuer="default",result="issued"} 0+60x60`, `m2m_issuer_token_requests_total{token_issuer="default",result="invalid_client"} 0+40x60`},
			{`m2m_issuer_token_requests_total{token_issuer="default",result="invalid_client"} 0+3x60`}, // of a handful nothing can be told
		},
	},
	{
		alert: "M2MSourcesThrottled", minute: 13, summary: "Sources are throttled at default",
		fires: []string{
			`m2m_issuer_failures_total{token_issuer="default",error="throttled",reason="WrongSecret",pod="a"} 0+60x60`,
			`m2m_issuer_failures_total{token_issuer="default",error="throttled",reason="WrongSecret",pod="b"} 0+60x60`,
		},
		silent: [][]string{
			{`m2m_issuer_failures_total{token_issuer="default",error="throttled",reason="WrongSecret"} 0+30x60`},
			{`m2m_issuer_failures_total{token_issuer="default",error="invalid_client",reason="WrongSecret"} 0+600x60`},
		},
	},
	{
		alert: "M2MIdentifierConflict", minute: 5, summary: "2 ApiResource in conflict with an older one",
		fires: []string{
			`m2m_manager_objects{kind="ApiResource",ready="False",reason="Conflicted",pod="a"} 2x60`,
			`m2m_manager_objects{kind="ApiResource",ready="False",reason="Conflicted",pod="b"} 2x60`,
		},
		silent: [][]string{
			{`m2m_manager_objects{kind="ApiResource",ready="False",reason="InvalidExpression"} 2x60`},
			{`m2m_manager_objects{kind="ApiResource",ready="False",reason="Conflicted"} 1x3 stale`},
		},
	},
	{
		alert: "M2MRequestsPending", minute: 36, summary: "A request for scopes of courses/course-api has been waiting for more than a day",
		fires: []string{
			fmt.Sprintf(`m2m_manager_oldest_pending_request_timestamp_seconds{api="courses/course-api"} %dx60`, 30*60-day),
			`m2m_manager_oldest_pending_request_timestamp_seconds{api=""} 0x60`,
		},
		silent: [][]string{
			{`m2m_manager_oldest_pending_request_timestamp_seconds{api="courses/course-api"} 0x60`},
		},
	},
	{
		alert: "M2MAuditLogLost", minute: 11, summary: "m2m-issuer-default-0 loses lines of the audit log",
		fires: []string{`m2m_issuer_audit_log_failures_total{pod="m2m-issuer-default-0"} 0x10 1x49`},
		silent: [][]string{
			{`m2m_issuer_audit_log_failures_total{pod="a"} 7x60`},
		},
	},
}
