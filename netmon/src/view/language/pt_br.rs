//! Portuguese of Brazil: the words of net-tools, so that a listing looks as netstat's.
//!
//! net-tools has no word for some texts, and a wrong one for others. docs/languages.md lists them.

mod counters;

use super::{Headings, Language, ServicesHeadings, SummaryWords, TableWords, Topics};
use crate::core::{
    socket::{TimerKind, UnixSocket},
    tcp::TcpState,
};

/// Portuguese of Brazil.
pub static PT_BR: Language = Language {
    locale: "pt_BR",
    headings: Headings {
        proto: "Proto",
        recv_q: "Recv-Q",
        send_q: "Send-Q",
        local_address: "Endereço Local",
        local: "Local",
        foreign_address: "Endereço Remoto",
        foreign: "Remoto",
        state: "Estado",
        user: "Usuário",
        inode: "Inode",
        program: "PID/Programa",
        netns: "Netns",
        timer: "Temporizador",
        references: "CntRef",
        flags: "Flags",
        kind: "Tipo",
        unix_inode: "I-Node",
        path: "Caminho",
    },
    internet: "Conexões Internet Ativas",
    unix: "Sockets de domínio UNIX ativos",
    without_servers: "sem os servidores",
    only_servers: "somente servidores",
    servers_and_established: "servidores e estabelecidas",
    past: "O que havia em {host} em {time}",
    state,
    unix_state,
    timer,
    summary: SummaryWords {
        sockets: "Sockets",
        total: "Total",
        remote_address: "Endereço remoto",
        port: "Porta",
        others: "outros",
    },
    services: ServicesHeadings {
        service: "Serviço",
        port: "Porta/Proto",
        aliases: "Outros nomes",
        listening: "Ouvindo",
    },
    tables: TableWords {
        routes: "Tabela de Roteamento IP do Kernel",
        route_cache: "Cache de Roteamento IP do Kernel",
        route_headings: [
            "Destino         Roteador        MáscaraGen.    Opções   MSS Janela  irtt Iface",
            "Destino         Roteador        MáscaraGen.    Opções Métrica Ref   Uso Iface",
            "Destino         Roteador        MáscaraGen.    Opções Métrica Ref   Uso Iface    \
             MSS   Janela irtt",
        ],
        cache_headings: [
            "Origem          Destino         Roteador       Opções   MSS Janela  irtt Iface",
            "Origem          Destino         Roteador       Opções Métrica Ref   Uso Iface",
            "Origem          Destino         Roteador       Opções Métrica Ref   Uso Iface    \
             MSS   Janela irtt  TOS HHRef HHUptod     SpecDst",
        ],
        ipv6_routes: "Tabela de Roteamento IPv6 do Kernel",
        ipv6_route_cache: "Cache de Roteamento IPv6 do Kernel",
        ipv6_route_headings: "Destino                        Próximo Hop                \
                              Opç  Mét Ref  Uso If",
        devices: "Tabela de Interfaces do Kernel",
        device_headings: "Iface             MTU    RX-OK RX-ERR RX-DRP RX-OVR    \
                          TX-OK TX-ERR TX-DRP TX-OVR Opç",
        no_flags: "[SEM FLAGS]",
        groups: "Participação em Grupos IPv6/IPv4",
        group_headings: "Interface       CntRef Grupo",
        counter: counters::counter,
    },
    topics: Topics {
        states: include_str!("pt_BR/states.txt"),
        ports: include_str!("pt_BR/ports.txt"),
        columns: include_str!("pt_BR/columns.txt"),
    },
};

const fn state(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "ESTABELECIDA",
        TcpState::SynSent => "SYN_ENVIADO",
        TcpState::SynRecv => "SYN_RECEBIDO",
        TcpState::FinWait1 => "ESPERA_FIN1",
        TcpState::FinWait2 => "ESPERA_FIN2",
        TcpState::TimeWait => "TIME_WAIT",
        TcpState::Close => "FECHAR",
        TcpState::CloseWait => "ESPERANDO_FECHAR",
        TcpState::LastAck => "ÚLTIMO_ACK",
        TcpState::Listen => "OUÇA",
        TcpState::Closing => "FECHANDO",
        TcpState::NewSynRecv => "NOVO_SYN_RECEBIDO",
    }
}

fn unix_state(socket: &UnixSocket) -> &'static str {
    match socket.state_name() {
        "FREE" => "LIVRE",
        "LISTENING" => "OUVINDO",
        "CONNECTING" => "CONECTANDO",
        "CONNECTED" => "CONECTADO",
        "DISCONNECTING" => "DESCONECTANDO",
        other => other,
    }
}

fn timer(kind: Option<TimerKind>) -> &'static str {
    match kind {
        None => "desligado",
        Some(TimerKind::On) => "ligado",
        Some(kind) => kind.name(),
    }
}
