// A client of Authing's document asks for a token. What it logs is what the test reads.
const log = (value) => process.stdout.write(JSON.stringify(value))
;((console) => {
  // DOCUMENT authing/request.js
})({ log, error: (error) => log(error.response?.data ?? { failure: String(error) }) })
