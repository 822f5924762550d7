// simple-oauth2: the four combinations of where it puts the credentials and how it encodes the body.
const { ClientCredentials } = require('simple-oauth2')

const input = JSON.parse(process.env.INPUT)

async function run(options, secret = input.clientSecret) {
  const client = new ClientCredentials({
    client: { id: input.clientId, secret },
    auth: { tokenHost: new URL(input.tokenEndpoint).origin, tokenPath: new URL(input.tokenEndpoint).pathname },
    options,
  })
  try {
    const accessToken = await client.getToken({ audience: input.audience, scope: input.scope })
    return accessToken.token
  } catch (error) {
    return { failure: error.name, message: error.message, ...error.data?.payload }
  }
}

async function main() {
  const outcomes = { 'a wrong secret': await run({}, 'wrong') }
  for (const authorizationMethod of ['header', 'body']) {
    for (const bodyFormat of ['form', 'json']) {
      outcomes[`${authorizationMethod}, ${bodyFormat}`] = await run({ authorizationMethod, bodyFormat })
    }
  }
  outcomes['header, not form-encoded'] = await run({ credentialsEncodingMode: 'loose' })
  console.log(JSON.stringify(outcomes))
}

main()
