package issuer

// The reasons of refusals, and why a token is not active, for the audit log and the metrics, besides those of packages
// clientauth, access and token. They are fixed words: nothing that a request carries gets into one.
const (
	reasonHeaderTooLarge       = "HeaderTooLarge"
	reasonMethod               = "WrongMethod"
	reasonNotIssuing           = "NotIssuing"
	reasonTooStale             = "TooStale"
	reasonInternal             = "InternalError"
	reasonBusy                 = "Busy"
	reasonBodyTooLarge         = "BodyTooLarge"
	reasonBodyUnreadable       = "BodyUnreadable"
	reasonQuery                = "ParametersInURI"
	reasonContentType          = "WrongContentType"
	reasonMalformedBody        = "MalformedBody"
	reasonTooManyParameters    = "TooManyParameters"
	reasonRepeatedParameter    = "RepeatedParameter"
	reasonNoGrantType          = "NoGrantType"
	reasonUnsupportedGrantType = "UnsupportedGrantType"
	reasonSeveralAudiences     = "SeveralAudiences"
	reasonMalformedScope       = "MalformedScope"
	reasonTokenTooLarge        = "TokenTooLarge"
	reasonNoToken              = "NoToken"
	reasonOlderThanClient      = "TokenOlderThanClient"
	reasonRevoked              = "TokenRevoked"
	reasonNotTheOwner          = "CallerNotOfApiResource"
)
