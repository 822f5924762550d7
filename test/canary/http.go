package canary

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Sent makes canaries of the secrets, tokens and assertions of a request that is about to be sent.
func (r *Run) Sent(request *http.Request) {
	for _, authorization := range request.Header.Values("Authorization") {
		_, credentials, _ := strings.Cut(authorization, " ")
		r.Secret("an Authorization header", credentials)
		if decoded, err := base64.StdEncoding.DecodeString(credentials); err == nil {
			_, password, _ := strings.Cut(string(decoded), ":")
			r.Secret("a client_secret that a test sent", password)
		}
	}
	if request.GetBody == nil {
		return
	}
	reader, err := request.GetBody()
	if err != nil {
		panic(err) // strings always can be read again
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		panic(err)
	}
	parameters, _ := url.ParseQuery(string(body)) // as much of it as can be read
	var object map[string]any
	if json.Unmarshal(body, &object) == nil {
		for name, value := range object {
			parameters.Add(name, fmt.Sprint(value))
		}
	}
	for _, name := range []string{"client_secret", "client_assertion", "token"} {
		for _, value := range parameters[name] {
			r.Secret("a "+name+" that a test sent", value)
		}
	}
}

// Got makes a canary of the token of an answer, and evidence of an error.
func (r *Run) Got(place string, status int, header http.Header, body string) {
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal([]byte(body), &answer) == nil {
		r.Secret("an access token that a test got", answer.AccessToken)
	}
	if status >= http.StatusBadRequest {
		r.Saw(place, fmt.Sprint(status, " ", header, " ", body))
	}
}

// Caller is a client that has access to an audience.
type Caller struct{ ClientID, Secret, Audience string }

// body of a good request, with other parameters.
func (c Caller) body(pairs ...string) string {
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {c.Audience}}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == "resource" {
			form.Del("audience")
		}
		form.Set(pairs[i], pairs[i+1])
	}
	return form.Encode()
}

// HostileRequests are requests to an endpoint that carry something in a place where it does not belong: one for each
// place, without credentials, and with the caller's. The names of scopes that an authenticated client asks for are
// logged, but for what it must keep secret.
func (r *Run) HostileRequests(endpoint string, caller Caller) []*http.Request {
	r.Secret("the client_secret of "+caller.ClientID, caller.Secret)
	var all []*http.Request
	add := func(change func(*http.Request), body string) {
		for _, authenticated := range []bool{false, true} {
			request, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(body))
			if err != nil {
				panic(err) // the endpoint is a URL
			}
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if authenticated {
				request.SetBasicAuth(caller.ClientID, caller.Secret)
			}
			change(request)
			all = append(all, request)
		}
	}
	r.inBody(add, caller)
	r.inHeader(add, caller.body())
	r.inURI(add, caller.body())
	r.inJSON(add)
	return all
}

type adder = func(change func(*http.Request), body string)

func unchanged(*http.Request) {}

func (r *Run) inBody(add adder, caller Caller) {
	for _, name := range []string{
		"client_id", "client_secret", "audience", "resource", "grant_type", "client_assertion", "client_assertion_type",
		"token", "token_type_hint", "organization",
	} {
		add(unchanged, caller.body(name, r.Hostile(name)))
	}
	add(unchanged, caller.body("audience", "https://"+r.Hostile("a host name in the audience")))
	add(unchanged, caller.body(r.Hostile("a parameter's name"), "x"))
	add(unchanged, caller.body("scope", r.Hostile("a malformed scope")+"  x"))
	add(unchanged, "%zz"+r.Hostile("a malformed body"))
	assertion := r.assertion()
	add(unchanged, caller.body("scope", "a"+caller.Secret+"b "+assertion))
	add(unchanged, caller.body("token", assertion))
	const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	add(unchanged, caller.body("client_assertion", assertion, "client_assertion_type", jwtBearer, "scope", assertion))
	add(unchanged, caller.body("client_assertion", assertion, "client_assertion_type", jwtBearer, "client_id", caller.ClientID))
}

// assertion is a JWT that nobody signed, whose every member is hostile.
func (r *Run) assertion() string {
	object := func(names ...string) string {
		members := map[string]string{"alg": "ES256"}
		for _, name := range names {
			members[name] = r.Hostile(name + " of an assertion")
		}
		text, err := json.Marshal(members)
		if err != nil {
			panic(err) // strings always can be
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	jwt := object("kid", "typ") + "." + object("iss", "sub", "aud", "jti") + "." + base64.RawURLEncoding.EncodeToString([]byte(r.Hostile("a signature")))
	r.Secret("an assertion", jwt)
	return jwt
}

func (r *Run) inHeader(add adder, body string) {
	set := func(name, value string) {
		add(func(request *http.Request) { request.Header.Set(name, value) }, body)
	}
	basic := func(text string) { set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(text))) }
	basic(r.Hostile("the user of Basic") + ":x")
	basic("x:" + r.Hostile("the password of Basic"))
	basic(r.Hostile("Basic without a colon"))
	for _, scheme := range []string{"Basic ", "Bearer ", "DPoP ", "Digest username=", "Negotiate ", ""} {
		set("Authorization", scheme+r.Hostile("Authorization: "+scheme))
	}
	for _, name := range []string{
		"User-Agent", "Cookie", "Referer", "Origin", "Accept", "Accept-Language", "Content-Type", "X-Request-Id", "Traceparent",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "DPoP", "If-None-Match", "X-Unknown",
	} {
		set(name, r.Hostile(name))
	}
	set("X-Forwarded-For", "192.0.2.1, "+r.Hostile("X-Forwarded-For")+", 192.0.2.2")
	set("X-"+r.Hostile("a header's name"), "x")
	host := r.Hostile("Host") + ".example.com"
	add(func(request *http.Request) { request.Host = host }, body)
	method := r.Hostile("a method")
	add(func(request *http.Request) { request.Method = method }, body)
}

func (r *Run) inURI(add adder, body string) {
	path, name, value := r.Hostile("a path"), r.Hostile("the name of a query parameter"), r.Hostile("the value of a query parameter")
	secret, malformed := r.Hostile("client_secret in the query"), r.Hostile("a malformed query")
	add(func(request *http.Request) { request.URL.Path += "/" + path }, body)
	for _, query := range []string{name + "=x", "x=" + value, "client_secret=" + secret, "%zz" + malformed} {
		add(func(request *http.Request) { request.URL.RawQuery = query }, body)
	}
}

func (r *Run) inJSON(add adder) {
	for _, body := range []string{
		`{"grant_type":"client_credentials","client_id":"` + r.Hostile("client_id in JSON") + `","client_secret":"` + r.Hostile("client_secret in JSON") + `"}`,
		`{"grant_type":"client_credentials","organization":"` + r.Hostile("an unknown member") + `"}`,
		`{"` + r.Hostile("a member's name") + `":"x"}`,
		`{"audience":{"x":"` + r.Hostile("a nested member") + `"}}`,
		`{"audience":"` + r.Hostile("malformed JSON"),
		r.Hostile("no JSON at all"),
	} {
		add(func(request *http.Request) { request.Header.Set("Content-Type", "application/json") }, body)
	}
}

// Send sends requests and takes down what comes back.
func (r *Run) Send(client *http.Client, requests []*http.Request) error {
	for _, request := range requests {
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			return err
		}
		r.Got("the answers to hostile requests", response.StatusCode, response.Header, string(body))
	}
	return nil
}
