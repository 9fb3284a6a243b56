/* Rules of signing in and of mail providers. */
#include "proto/auth/v1/auth.pb-c.h"
#include "proto/orgemailproviders/v1/orgemailproviders.pb-c.h"
#include "proto/validate.h"
#include "rules.h"
#include "worker/identity/redirect.h"
#include "worker/mail/provider.h"

static bool given(const char *text)
{
	return text && *text;
}

/* An empty password is a wrong password, not a malformed request. */
void rule_sign_in(struct pb_check *check, const ProtobufCMessage *message)
{
	const Auth__V1__SignInRequest *request = (const Auth__V1__SignInRequest *)message;

	if (!request->password)
		pb_violation(check, "password", "password is required");
}

/* Exactly one of them (D6); an empty one counts as none. */
void rule_sign_in_with_magic_link(struct pb_check *check, const ProtobufCMessage *message)
{
	const Auth__V1__SignInWithMagicLinkRequest *request =
		(const Auth__V1__SignInWithMagicLinkRequest *)message;

	if (given(request->email) && given(request->token))
		pb_violation(check, "", "only one of email and token may be set");
	else if (!given(request->email) && !given(request->token))
		pb_violation(check, "", "email or token is required");
}

void rule_complete_oidc_sign_in(struct pb_check *check, const ProtobufCMessage *message)
{
	const Auth__V1__CompleteOIDCSignInRequest *request =
		(const Auth__V1__CompleteOIDCSignInRequest *)message;

	if (given(request->redirect_uri) && !redirect_ok(str_of(request->redirect_uri)))
		pb_violation(check, "redirect_uri",
			"redirect_uri must be https://HOST/oauth/callback without query, fragment "
			"and user (http:// only on localhost)");
}

/* Upsert sends nothing, so what can never work is told here rather than by the first
 * invitation. */
void rule_org_email_provider(struct pb_check *check, const ProtobufCMessage *message)
{
	const Orgemailproviders__V1__UpsertRequest *request =
		(const Orgemailproviders__V1__UpsertRequest *)message;

	if (given(request->reply_to) && !valid_email(str_of(request->reply_to)))
		pb_violation(check, "reply_to", "reply_to must be an e-mail address or empty");
	if (request->config_case == ORGEMAILPROVIDERS__V1__UPSERT_REQUEST__CONFIG_SMTP &&
		given(request->smtp->host) && !provider_host_ok(str_of(request->smtp->host)))
		pb_violation(check, "smtp.host", "smtp.host must be a host name or an address");
	if (request->config_case == ORGEMAILPROVIDERS__V1__UPSERT_REQUEST__CONFIG_RESEND &&
		given(request->resend->api_key) &&
		!provider_key_ok(str_of(request->resend->api_key)))
		pb_violation(check, "resend.api_key", "resend.api_key must not hold blanks");
}
