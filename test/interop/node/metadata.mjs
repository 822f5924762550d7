// What oauth4webapi, and with it openid-client, says of metadata that the test has changed.
import * as oauth from 'oauth4webapi'

const input = JSON.parse(process.env.INPUT)
const verdicts = {}
for (const [name, document] of Object.entries(input.documents)) {
  const response = new Response(JSON.stringify(document), { headers: { 'content-type': 'application/json' } })
  verdicts[name] = await oauth
    .processDiscoveryResponse(new URL(input.issuer), response)
    .then(() => 'accepted', (err) => `${err.name}: ${err.message}`)
}
console.log(JSON.stringify({ verdicts }))
