export const determineScopes = (req, res, next) => {

var requiredScope
if (req.path === '/api/courses') {
if (req.method === 'GET') {
const status = typeof req.query.status === 'string' ? req.query.status.toLowerCase() : 'published';
requiredScope = scopes[status] || 'courses:read-published';
}
else if (req.method === 'POST') {
requiredScope = 'courses:write';
}
}

...

req.requiredScope = requiredScope;
next();
}


const checkScope = (expectedScope: string) => (req, res, next) => {
if (!req.auth || !req.auth.scope || req.auth.scope.split(' ').indexOf(expectedScope) < 0) {
return next(new Error('Missing required scope: ' + expectedScope));
}
next();
};
