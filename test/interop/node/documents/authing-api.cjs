// The API of Authing's document.
const listens = (server) => server.on('listening', () => console.log(server.address().port))

// DOCUMENT authing/api.js
