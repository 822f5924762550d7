// The Gift Deliveries app of Auth0's document asks for a token. request is the library that it uses: long without
// maintenance, and in many a client that will not be rewritten for us.
const request = require('request')
const env = (name) => process.env[name]
const logger = { debug: (message) => console.error(message) }

// DOCUMENT auth0/get-access-token.js

getAccessToken((failure, token) => console.log(JSON.stringify({ failure, token })))
