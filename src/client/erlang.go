package client

import (
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Erlang's clients have no modes. Those that verify call public_key:cacerts_get(), which finds only
// the stack's CAs. So we point it to a file with these and the databases' CAs.
//
// PATH cannot tell whether there is an Erlang: the launch scripts of later buildpacks run after
// ours.
var erlangPlaces = []string{
	// supply buildpacks, apt-buildpack
	"deps/*/bin/erl", "deps/*/erlang/bin/erl", "deps/*/apt/usr/lib/erlang/bin/erl",
	// the Elixir and the Erlang buildpacks
	"app/.platform_tools/erlang/bin/erl", "app/otp/bin/erl",
	// a release
	"app/erts-*/bin/erlexec", "app/*/erts-*/bin/erlexec", "app/_build/*/rel/*/erts-*/bin/erlexec",
}

func giveErlang(h *Handout) {
	if h.modeWithoutVariable() < sslmode.Require {
		return
	}
	if root := h.roots(true); root != "" {
		flags := erlangFlags(h.app.Env["ERL_AFLAGS"], root)
		h.add("ERL_AFLAGS", flags, "a flag that names "+root, "for Erlang's public_key:cacerts_get()")
	}
}

// erlangFlags makes public_key:cacerts_get() return the CAs of a file instead of the stack's. From
// OTP 27.2 on, public_key reads its parameter cacerts_path, even before a release starts its
// applications. Older versions run the -eval at the end of the boot. A release without public_key
// boots all the same.
//
// The owner's flags come after ours, because they may end in "-extra", which swallows what follows.
// The "--" keeps them from becoming arguments of our -eval.
//
// Source: OTP, erts/etc/common/erlexec.c, build_args_from_string: nothing escapes between quotes.
func erlangFlags(owners, file string) string {
	if strings.Contains(owners, file) {
		return owners
	}
	text := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(file) + `"`
	word := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	flags := "-public_key cacerts_path " + word(text) +
		" -eval " + word("try public_key:cacerts_load("+text+") catch _:_ -> ok end")
	if owners != "" {
		flags += " -- " + owners
	}
	return flags
}
