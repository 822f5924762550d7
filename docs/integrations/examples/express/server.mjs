// An API in Express. M2M_VERIFIER is where the ApiResource's ConfigMap <name>-verifier is mounted, and NODE_EXTRA_CA_CERTS
// names the ca.crt in it.
import { readFileSync } from 'node:fs'
import express from 'express'
import * as jose from 'jose'

const mounted = (name) => readFileSync(`${process.env.M2M_VERIFIER}/${name}`, 'utf8')
const keys = jose.createRemoteJWKSet(new URL(mounted('jwks_uri')))
const options = {
  issuer: mounted('issuer'),
  audience: mounted('audience'),
  typ: 'at+jwt',
  algorithms: ['ES256', 'RS256'], // those of the TokenIssuer
}

const refuse = (res, status, challenge) => res.status(status).set('WWW-Authenticate', challenge).end()

// Lets requests pass whose token has the scope.
const requireScope = (scope) => async (req, res, next) => {
  const bearer = /^Bearer (\S+)$/i.exec(req.get('Authorization') ?? '')
  if (!bearer) return refuse(res, 401, 'Bearer')
  try {
    const { payload } = await jose.jwtVerify(bearer[1], keys, options)
    if (!String(payload.scope ?? '').split(' ').includes(scope)) {
      return refuse(res, 403, `Bearer error="insufficient_scope", scope="${scope}"`)
    }
    req.client = payload.client_id
  } catch (error) {
    if (error.code === 'ERR_JWKS_TIMEOUT' || !(error instanceof jose.errors.JOSEError)) return next(error) // no keys: 500
    return refuse(res, 401, 'Bearer error="invalid_token"')
  }
  next()
}

const app = express()
app.get('/courses', requireScope('courses:read-approved'), (req, res) => res.json({ client: req.client }))
app.post('/courses', requireScope('courses:write'), (req, res) => res.status(201).end())

const server = app.listen(process.env.PORT ?? 8000, () => console.log(server.address().port))
