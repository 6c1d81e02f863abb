#!/bin/bash
# Makes every secret of docker-compose.yml, once: `deploy/make-secrets.sh [FOLDER]`, deploy/secrets unless given.
# The folder is for its owner alone. The files are readable by all, for each container has a user of its own
# and sees only what it is given.
set -euo pipefail

folder=${1:-$(dirname "$0")/secrets}
if ! mkdir -m 700 "$folder"; then
  echo "Secrets are made once: they are in the databases too. To change one see docs/production.md." >&2
  exit 1
fi

password() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

keep() {
  cat > "$folder/$1"
  chmod 444 "$folder/$1"
}

password | keep postgres_password
for service in planner scheduler serving; do
  echo "postgresql+asyncpg://$service:$(password)@postgres:5432/$service" | keep "${service}_database_url"
done
echo "postgresql+psycopg2://mlflow:$(password)@postgres:5432/mlflow" | keep mlflow_database_url

nats=$(password)
echo "nats://attune:$nats@nats:4222" | keep nats_url
keep nats_authorization <<CONF
authorization {
  user: "attune"
  password: "$nats"
}
CONF

key=$(password)
secret=$(password)
keep s3_credentials <<INI
[default]
aws_access_key_id = $key
aws_secret_access_key = $secret
INI
keep s3_identities <<JSON
{
  "identities": [
    {
      "name": "mlflow",
      "credentials": [{"accessKey": "$key", "secretKey": "$secret"}],
      "actions": ["Admin", "Read", "Write", "List", "Tagging"]
    }
  ]
}
JSON
echo "Made $(ls "$folder" | wc -l) secrets in $folder."
