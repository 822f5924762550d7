app.post('/api/courses', determineScopes, checkScope, async (req, res) => {
const newCourse = req.body;
// Validate input
if (!newCourse || !newCourse.name || !newCourse.details || !newCourse.started_date) {
return res.status(400).send('Invalid course data');
}
// Assign an id to the new course
newCourse.id = coursesDb.length + 1;
newCourse.pending = true;
newCourse.published = false;
// Add the new course to the database
coursesDb.push(newCourse);
// Return the new course
res.json(newCourse);
});
