import { expressjwt } from 'express-jwt';
import jwksRsa from 'jwks-rsa';

// JWT authentication middleware configuration
const jwtCheck = expressjwt({
secret: jwksRsa.expressJwtSecret({
cache: true,
rateLimit: true,
jwksRequestsPerMinute: 5,
jwksUri: 'https://localhost:9444/oauth2/jwks'
}) as GetVerificationKey,
audience: 'MPydZFwuXfZfhdqHB_FnHRIjUKYa',
issuer: 'https://localhost:9444/oauth2/token',
algorithms: ['RS256']
});
