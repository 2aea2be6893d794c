# What users of Cloud Foundry do today, as a script in their app's .profile.d, with the RDS bundle
# in the app. It reads the binding with jq, and gives the bundle's CAs to OpenSSL and Go. It is as
# fast as these tools allow: one jq, one awk, and one openssl for all certificates. shellcheck
# shell=bash

mode=$(jq -r '[.[][] | select(.credentials.uri // "" | test("^postgres(ql)?:"))][0].credentials.sslmode // empty' <<<"$VCAP_SERVICES")
if [[ $mode ]]; then
  export DB_SSL_MODE=$mode PGSSLMODE=$mode
fi

certs=$HOME/rds-certs
mkdir -p "$certs"
awk -v dir="$certs" '/-----BEGIN CERTIFICATE-----/ { file = sprintf("%s/%03d.pem", dir, ++n) } file { print >file } /-----END CERTIFICATE-----/ { close(file); file = "" }' \
  "$HOME/rds-bundle.pem"
openssl rehash "$certs"
export SSL_CERT_DIR=/etc/ssl/certs:$certs PGSSLROOTCERT=$HOME/rds-bundle.pem
unset mode certs
