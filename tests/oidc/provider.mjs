// An OpenID provider for tests/api/test_oidc.py: oidc-provider with its development
// interactions. Whoever signs in is the account: NAME of NAME@people.example; "unproven"
// has no verified e-mail. Ends with its standard input.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [, , redirect, secret] = process.argv;

const client = (client_id, token_endpoint_auth_method) => ({
	client_id,
	token_endpoint_auth_method,
	...(token_endpoint_auth_method === "none" ? {} : { client_secret: secret }),
	redirect_uris: [redirect],
	grant_types: ["authorization_code"],
	response_types: ["code"],
});

const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });

const server = createServer();
server.listen(0, "127.0.0.1", () => {
	const issuer = `http://127.0.0.1:${server.address().port}`;
	const provider = new Provider(issuer, {
		clients: [client("basic", "client_secret_basic"), client("open", "none")],
		jwks: { keys: [{ ...key, kid: "k1", use: "sig", alg: "RS256" }] },
		cookies: { keys: ["not a secret"] },
		claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "picture"] },
		// In the id token, and not from the userinfo endpoint only.
		conformIdTokenClaims: false,
		pkce: { required: () => true, methods: ["S256"] },
		findAccount: (_, id) => ({
			accountId: id,
			claims: () => ({
				sub: id,
				email: `${id}@people.example`,
				email_verified: id !== "unproven",
				name: `Person ${id}`,
				picture: "https://people.example/p.png",
			}),
		}),
	});
	server.on("request", provider.callback());
	console.log(JSON.stringify({ issuer }));
});
process.stdin.on("end", () => process.exit(0)).resume();
