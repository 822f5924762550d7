const axios = require('axios').default;
const options = {
   method:'POST',
   url:'https://{application domain name}.authing.cn/oidc/token',
   headers: {'content-type':'application/x-www-form-urlencoded' },
   data: {
     grant_type:'client_credentials',
     client_id:'{Programming access account Key}',
     client_secret:'{Programming access account Secret}',
     scope:'{Permission items, separated by spaces}',
   },
};

axios
  .request(options)
  .then(function(response) {
    console.log(response.data);
  })
  .catch(function(error) {
    console.error(error);
  });
