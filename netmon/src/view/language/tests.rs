use super::*;

/// The words of the Portuguese netstat, which people have learned.
#[test]
fn portuguese_has_the_words_of_netstat() {
    let words = TcpState::ALL.map(PT_BR.state);
    let expected = [
        "ESTABELECIDA",
        "SYN_ENVIADO",
        "SYN_RECEBIDO",
        "ESPERA_FIN1",
        "ESPERA_FIN2",
        "TIME_WAIT",
        "FECHAR",
        "ESPERANDO_FECHAR",
        "ÚLTIMO_ACK",
        "OUÇA",
        "FECHANDO",
        "NOVO_SYN_RECEBIDO",
    ];
    assert_eq!(words, expected);
}

#[test]
fn no_two_states_have_one_name() {
    for language in LANGUAGES {
        let mut names = TcpState::ALL.map(language.state).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TcpState::ALL.len(), "{language:?}");
    }
}

/// A language has the places that the English text has, and no text is empty.
#[test]
fn texts_have_the_places_of_the_english_ones() {
    let places = |text: &str| {
        let places = text.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let mut places: Vec<_> = places.map(str::to_owned).collect();
        places.sort();
        places
    };
    for language in LANGUAGES {
        let Topics { states, ports, columns } = language.topics;
        let texts = [language.past, states, ports, columns];
        let Topics { states, ports, columns } = ENGLISH.topics;
        let english = [ENGLISH.past, states, ports, columns];
        for (text, english) in texts.into_iter().zip(english) {
            assert_eq!(places(text), places(english), "{language:?}");
        }
    }
}

#[test]
fn a_locale_has_a_language() {
    for (locale, expected) in [
        ("pt_BR", "pt_BR"),
        ("pt_BR.UTF-8", "pt_BR"),
        ("pt_BR@euro", "pt_BR"),
        ("pt", "pt_BR"),
        ("en_GB.UTF-8", "en"),
        ("pt_PT", "en"),
        ("p", "en"),
        ("C", "en"),
        ("", "en"),
    ] {
        assert_eq!(Language::of_locale(locale).locale, expected, "{locale}");
    }
}
