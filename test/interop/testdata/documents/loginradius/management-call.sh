curl --request GET \  --url https://api.loginradius.com/identity/v2/manage/account/{uid} \  --header 'authorization: Bearer eyJhb……….jVZ2w'  --header 'X-LoginRadius-ApiKey: {apiKey}
