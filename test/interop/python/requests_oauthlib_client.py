"""requests-oauthlib: the client credentials grant, as its documentation's backend application workflow has it."""
import json
import os

from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

INPUT = json.loads(os.environ["INPUT"])


def fetch(**how):
    client = BackendApplicationClient(client_id=INPUT["clientId"], scope=INPUT["scope"].split())
    session = OAuth2Session(client=client)
    try:
        return session.fetch_token(token_url=INPUT["tokenEndpoint"], audience=INPUT["audience"], **how)
    except OAuth2Error as error:
        return {"failure": type(error).__name__, "error": error.error}


print(json.dumps({
    "client_secret_basic": fetch(auth=HTTPBasicAuth(INPUT["clientId"], INPUT["clientSecret"])),
    "client_secret_post": fetch(client_secret=INPUT["clientSecret"], include_client_id=True),
    "a wrong secret": fetch(auth=HTTPBasicAuth(INPUT["clientId"], "wrong")),
}))
