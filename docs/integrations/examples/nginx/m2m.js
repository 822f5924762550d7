// Lets a request pass whose token the issuer calls active, is for this API, and has the location's scope.
async function check(r) {
  const bearer = /^Bearer ([A-Za-z0-9._~+\/-]+=*)$/i.exec(r.headersIn.Authorization || '')
  if (!bearer) return refuse(r, 401, 'Bearer')
  const reply = await r.subrequest('/_introspect', { method: 'POST', body: 'token=' + encodeURIComponent(bearer[1]) })
  if (reply.status !== 200) {
    r.error(`introspection answers ${reply.status}`)
    return r.return(500) // the caller is not to blame
  }
  const token = JSON.parse(reply.responseText)
  if (!token.active || token.aud !== r.variables.m2m_audience) return refuse(r, 401, 'Bearer error="invalid_token"')
  const scope = r.variables.m2m_scope
  if (!token.scope.split(' ').includes(scope)) return refuse(r, 403, `Bearer error="insufficient_scope", scope="${scope}"`)
  r.headersOut['X-M2M-Client'] = token.client_id
  r.return(204)
}

function refuse(r, status, challenge) {
  r.headersOut['WWW-Authenticate'] = challenge
  r.return(status)
}

export default { check }
