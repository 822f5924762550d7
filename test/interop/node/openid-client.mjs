// openid-client: discovery, then a token by every way to authenticate, one refusal, and introspection.
import * as client from 'openid-client'

const input = JSON.parse(process.env.INPUT)
const { clientId, clientSecret, audience, scope, reader } = input
const key = await crypto.subtle.importKey('jwk', input.key, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])

const discover = (id, authentication) =>
  client.discovery(new URL(input.issuer), id, undefined, authentication, { algorithm: input.algorithm })

const outcomes = {}
for (const [name, authentication] of Object.entries({
  client_secret_basic: client.ClientSecretBasic(clientSecret),
  client_secret_post: client.ClientSecretPost(clientSecret),
  private_key_jwt: client.PrivateKeyJwt({ key, kid: input.key.kid }),
  'a wrong secret': client.ClientSecretBasic('wrong'),
})) {
  try {
    const config = await discover(clientId, authentication)
    outcomes[name] = await client.clientCredentialsGrant(config, { resource: audience, scope })
  } catch (err) {
    outcomes[name] = { failure: err.name, code: err.code, ...(await err.response?.json()) }
  }
}

const config = await discover(reader.clientId, client.ClientSecretBasic(reader.clientSecret))
outcomes.introspection = await client.tokenIntrospection(config, input.token)
outcomes['introspection of nothing'] = await client.tokenIntrospection(config, 'nothing')
console.log(JSON.stringify(outcomes))
