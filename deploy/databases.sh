#!/bin/bash
# Makes a database and its owner for each service, once, when PostgreSQL's folder is still empty.
# Names and passwords are those of the URLs that the services read, in /run/secrets.
set -euo pipefail

for service in planner scheduler serving mlflow; do
  url=$(cat "/run/secrets/${service}_database_url")
  if [[ ! $url =~ ^postgresql\+[a-z0-9]+://([a-z]+):([A-Za-z0-9]+)@[^/]+/([a-z]+)$ ]]; then
    echo "${service}_database_url is not postgresql+DRIVER://USER:PASSWORD@HOST:PORT/DATABASE" >&2
    echo "with a user and database of lower-case letters and a password of letters and digits." >&2
    exit 1
  fi
  # By standard input, so that no password stands in a command line.
  psql --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
CREATE ROLE ${BASH_REMATCH[1]} LOGIN PASSWORD '${BASH_REMATCH[2]}';
CREATE DATABASE ${BASH_REMATCH[3]} OWNER ${BASH_REMATCH[1]};
REVOKE ALL ON DATABASE ${BASH_REMATCH[3]} FROM PUBLIC;
SQL
done
