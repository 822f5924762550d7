curl --request GET \--url < API URL > \--header 'authorization: Bearer eyJh………VZ2w'
