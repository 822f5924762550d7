"""Authlib: a token by every way to authenticate, and the verification of tokens."""
import json
import os
import time

import requests
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from authlib.jose import JsonWebKey, JsonWebToken
from authlib.jose.errors import JoseError
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata

INPUT = json.loads(os.environ["INPUT"])


def fetch(method, secret):
    session = OAuth2Session(INPUT["clientId"], secret, scope=INPUT["scope"], token_endpoint_auth_method=method)
    # The audience of an assertion is the issuer (Authlib's default is the token endpoint), and it lives for five
    # minutes at most (Authlib's default is an hour).
    session.register_client_auth_method(
        PrivateKeyJWT(INPUT["issuer"], claims={"exp": int(time.time()) + 60}, alg="ES256"))
    try:
        return session.fetch_token(INPUT["tokenEndpoint"], grant_type="client_credentials", audience=INPUT["audience"])
    except OAuthError as error:
        return {"failure": type(error).__name__, "error": error.error}


def verdict(token, keys):
    try:
        claims = JsonWebToken(["RS256"]).decode(token, keys, claims_options={
            "iss": {"essential": True, "value": INPUT["issuer"]},
            "aud": {"essential": True, "value": INPUT["audience"]},
        })
        claims.validate()
        return "accepted"
    except (JoseError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


keys = JsonWebKey.import_key_set(requests.get(INPUT["jwksUri"]).json())
AuthorizationServerMetadata(requests.get(INPUT["metadata"]).json()).validate()
OpenIDProviderMetadata(requests.get(INPUT["discovery"]).json()).validate()
print(json.dumps({
    "client_secret_basic": fetch("client_secret_basic", INPUT["clientSecret"]),
    "client_secret_post": fetch("client_secret_post", INPUT["clientSecret"]),
    "private_key_jwt": fetch("private_key_jwt", JsonWebKey.import_key(INPUT["key"])),
    "a wrong secret": fetch("client_secret_post", "wrong"),
    "verdicts": {name: verdict(token, keys) for name, token in INPUT["tokens"].items()},
}))
