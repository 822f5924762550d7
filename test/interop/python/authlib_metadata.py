"""What Authlib says of metadata that the test has changed."""
import json
import os

from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata


def verdict(document):
    try:
        AuthorizationServerMetadata(document).validate()
        OpenIDProviderMetadata(document).validate()
        return "accepted"
    except ValueError as error:
        return str(error)


documents = json.loads(os.environ["INPUT"])["documents"]
print(json.dumps({"verdicts": {name: verdict(document) for name, document in documents.items()}}))
