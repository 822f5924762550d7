// The course API of WSO2's document, of which that shows three pieces. The rest is made up here.
import express from 'express'

const scopes = { published: 'courses:read-published', approved: 'courses:read-approved' }
const coursesDb = [
  { id: 1, name: 'Compilers', status: 'approved', started_date: '2024-06-18' },
  { id: 2, name: 'Far away', status: 'approved', started_date: '2200-01-01' },
  { id: 3, name: 'Logic', status: 'published', started_date: '2024-06-18' },
]
const app = express()
app.use(express.json())

// DOCUMENT wso2/authentication.ts

app.use(jwtCheck)

// DOCUMENT wso2/scopes.ts

const checkRequiredScope = (req, res, next) => checkScope(req.requiredScope)(req, res, next)
app.get('/api/courses', determineScopes, checkRequiredScope, (req, res) => {
  res.json(coursesDb.filter((course) => course.status === req.query.status))
})
app.patch('/api/courses/:id', determineScopes, checkRequiredScope, (req, res) => {
  const course = coursesDb.find(({ id }) => id === Number(req.params.id))
  res.json(Object.assign(course, req.body))
})

// DOCUMENT wso2/create-course.ts

const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port))
