//! The sentences of counters in Portuguese: the words of net-tools where it has right ones.

/// Returns the Portuguese for the sentence of a counter.
pub(super) fn counter(english: &'static str) -> &'static str {
    match english {
        "{} forwarded" => "{} encaminhados",
        "{} fragments created" => "{} fragmentos criados",
        "{} outgoing packets failed fragmentation" => {
            "{} pacotes saintes não puderam ser fragmentados"
        }
        "{} outgoing packets fragmented ok" => "{} pacotes saintes fragmentados sem problemas",
        "{} with invalid addresses" => "{} com endereços inválidos",
        "{} incoming packets delivered" => "{} pacotes entrantes despachados",
        "{} incoming packets discarded" => "{} pacotes entrantes descartados",
        "{} with invalid headers" => "{} com cabeçalhos inválidos",
        "{} total packets received" => "{} total de pacotes recebidos",
        "{} with unknown protocol" => "{} com protocolo desconhecido",
        "{} outgoing packets dropped" => "{} pacotes saintes descartados",
        "{} dropped because of missing route" => "{} descartados por falta de rota",
        "{} requests sent out" => "{} requisições enviadas",
        "{} packet reassemblies failed" => "{} remontagens de pacotes falharam",
        "{} packets reassembled ok" => "{} pacotes remontados sem problemas",
        "{} reassemblies required" => "{} remontagens necessárias",
        "{} fragments dropped after timeout" => "{} fragmentos descartados após o tempo limite",
        "{} incoming multicast packets" => "{} pacotes multicast entrantes",
        "{} incoming packets with no route" => "{} pacotes entrantes sem rota",
        "{} with packets too big" => "{} com pacotes grandes demais",
        "{} with truncated packets" => "{} com pacotes truncados",
        "{} outgoing multicast packets" => "{} pacotes multicast saintes",
        "{} input ICMP message failed" => "{} mensagens ICMP entrantes falharam",
        "{} ICMP messages received" => "{} mensagens ICMP recebidas",
        "{} ICMP messages failed" => "{} mensagens ICMP falharam",
        "{} ICMP messages sent" => "{} mensagens ICMP enviadas",
        "ICMP input histogram:" => "Histograma de entrada ICMP:",
        "ICMP output histogram:" => "Histograma de saída ICMP:",
        "address mask replies: {}" => "respostas de máscara de endereço: {}",
        "address mask request: {}" | "address mask requests: {}" => {
            "pedidos de máscara de endereço: {}"
        }
        "destination unreachable: {}" => "destino inalcançável: {}",
        "echo replies: {}" => "respostas de eco: {}",
        "echo requests: {}" => "pedidos de eco: {}",
        "wrong parameters: {}" => "parâmetros errados: {}",
        "redirect: {}" | "redirects: {}" => "redirecionamentos: {}",
        "source quench: {}" | "source quenches: {}" => "pedidos de redução à origem: {}",
        "time exceeded: {}" => "tempo excedido: {}",
        "timeout in transit: {}" => "tempo esgotado em trânsito: {}",
        "timestamp replies: {}" | "timestamp reply: {}" => "respostas de marca de tempo: {}",
        "timestamp request: {}" | "timestamp requests: {}" => "pedidos de marca de tempo: {}",
        "group member queries: {}" => "consultas de membros de grupo: {}",
        "group member reductions: {}" => "saídas de membros de grupo: {}",
        "group member responses: {}" => "respostas de membros de grupo: {}",
        "neighbor advertisements: {}" | "neighbour advertisement: {}" => "anúncios de vizinho: {}",
        "neighbor solicits: {}" | "neighbour solicits: {}" => "solicitações de vizinho: {}",
        "packets too big: {}" => "pacotes grandes demais: {}",
        "parameter problem: {}" => "problemas de parâmetro: {}",
        "received ICMPv6 time exceeded: {}" => "ICMPv6 de tempo excedido recebidos: {}",
        "router advertisement: {}" => "anúncios de roteador: {}",
        "router solicits: {}" => "solicitações de roteador: {}",
        "sent ICMPv6 time exceeded: {}" => "ICMPv6 de tempo excedido enviados: {}",
        "{} active connection openings" => "{} aberturas ativas de conexão",
        "{} failed connection attempts" => "{} tentativas de conexão falharam",
        "{} connections established" => "{} conexões estabelecidas",
        "{} connection resets received" => "{} resets de conexão recebidos",
        "{} bad segments received" => "{} segmentos ruins recebidos",
        "{} segments received" => "{} segmentos recebidos",
        "{} resets sent" => "{} resets enviados",
        "{} segments sent out" => "{} segmentos enviados",
        "{} passive connection openings" => "{} aberturas passivas de conexão",
        "{} segments retransmitted" => "{} segmentos retransmitidos",
        "{} packets received" => "{} pacotes recebidos",
        "{} packet receive errors" => "{} erros de recepção de pacotes",
        "{} packets to unknown port received" => "{} pacotes para portas desconhecidas recebidos",
        "{} packets sent" => "{} pacotes enviados",
        "{} receive buffer errors" => "{} erros do buffer de recepção",
        "{} send buffer errors" => "{} erros do buffer de envio",
        "{} delayed acks further delayed because of locked socket" => {
            "{} acks atrasados ainda mais atrasados porque o socket estava bloqueado"
        }
        "Quick ack mode was activated {} times" => "O modo de ack rápido foi ativado {} vezes",
        "{} delayed acks sent" => "{} acks atrasados enviados",
        "{} resets received for embryonic SYN_RECV sockets" => {
            "{} resets recebidos para sockets embriônicos SYN_RECV"
        }
        "{} SYNs to LISTEN sockets dropped" => "{} SYNs para sockets LISTEN descartados",
        "{} times the listen queue of a socket overflowed" => {
            "{} vezes a fila de escuta de um socket transbordou"
        }
        "{} ICMP packets dropped because socket was locked" => {
            "{} pacotes ICMP descartados porque o socket estava bloqueado"
        }
        "{} packets dropped from out-of-order queue because of socket buffer overrun" => {
            "{} pacotes descartados da fila fora de ordem devido a estouro do buffer do socket"
        }
        "{} ICMP packets dropped because they were out-of-window" => {
            "{} pacotes ICMP descartados porque estavam fora da janela"
        }
        "{} active connections rejected because of time stamp" => {
            "{} conexões ativas rejeitadas devido à marca de tempo"
        }
        "{} packets rejected in established connections because of timestamp" => {
            "{} pacotes rejeitados em conexões estabelecidas devido à marca de tempo"
        }
        "{} passive connections rejected because of time stamp" => {
            "{} conexões passivas rejeitadas devido à marca de tempo"
        }
        "{} packets pruned from receive queue because of socket buffer overrun" => {
            "{} pacotes retirados da fila de recepção devido a estouro do buffer do socket"
        }
        "{} packets pruned from receive queue" => "{} pacotes retirados da fila de recepção",
        "Ran {} times out of system memory during packet sending" => {
            "Faltou memória do sistema {} vezes durante o envio de pacotes"
        }
        "{} invalid SYN cookies received" => "{} SYN cookies inválidos recebidos",
        "{} SYN cookies received" => "{} SYN cookies recebidos",
        "{} SYN cookies sent" => "{} SYN cookies enviados",
        "{} times unable to send RST due to no memory" => {
            "{} vezes não foi possível enviar RST por falta de memória"
        }
        "{} connections reset due to early user close" => {
            "{} conexões reiniciadas porque o usuário as fechou cedo"
        }
        "{} connections reset due to unexpected data" => {
            "{} conexões reiniciadas devido a dados inesperados"
        }
        "{} connections aborted after user close in linger timeout" => {
            "{} conexões abortadas após fechamento pelo usuário no tempo de linger"
        }
        "{} connections aborted due to memory pressure" => {
            "{} conexões abortadas por pressão de memória"
        }
        "{} connections reset due to unexpected SYN" => {
            "{} conexões reiniciadas devido a SYN inesperado"
        }
        "{} connections aborted due to timeout" => "{} conexões abortadas por tempo esgotado",
        "{} bytes directly in process context from backlog" => {
            "{} bytes do backlog diretamente no contexto do processo"
        }
        "Detected reordering {} times using FACK" => "Reordenação detectada {} vezes usando FACK",
        "{} fast retransmits" => "{} retransmissões rápidas",
        "{} forward retransmits" => "{} retransmissões adiantadas",
        "{} congestion windows fully recovered without slow start" => {
            "{} janelas de congestionamento recuperadas por completo sem partida lenta"
        }
        "{} predicted acknowledgments" => "{} confirmações previstas",
        "{} packet headers predicted" => "{} cabeçalhos de pacotes previstos",
        "{} packet headers predicted and directly queued to user" => {
            "{} cabeçalhos de pacotes previstos e enfileirados diretamente para o usuário"
        }
        "{} timeouts in loss state" => "{} tempos esgotados em estado de perda",
        "{} congestion windows recovered without slow start after partial ack" => {
            "{} janelas de congestionamento recuperadas sem partida lenta após ack parcial"
        }
        "{} retransmits lost" => "{} retransmissões perdidas",
        "TCP ran low on memory {} times" => "O TCP ficou com pouca memória {} vezes",
        "{} congestion windows partially recovered using Hoe heuristic" => {
            "{} janelas de congestionamento recuperadas em parte pela heurística de Hoe"
        }
        "{} packets directly queued to recvmsg prequeue" => {
            "{} pacotes enfileirados diretamente na pré-fila de recvmsg"
        }
        "{} acknowledgments not containing data payload received" => {
            "{} confirmações sem dados recebidas"
        }
        "{} packets collapsed in receive queue due to low socket buffer" => {
            "{} pacotes condensados na fila de recepção por falta de buffer do socket"
        }
        "{} timeouts after reno fast retransmit" => {
            "{} tempos esgotados após retransmissão rápida reno"
        }
        "{} times recovered from packet loss due to fast retransmit" => {
            "{} vezes recuperado da perda de pacotes por retransmissão rápida"
        }
        "Detected reordering {} times using reno fast retransmit" => {
            "Reordenação detectada {} vezes usando retransmissão rápida reno"
        }
        "Detected reordering {} times using SACK" => "Reordenação detectada {} vezes usando SACK",
        "{} times receiver scheduled too late for direct processing" => {
            "{} vezes o receptor foi escalonado tarde demais para processamento direto"
        }
        "{} retransmits in slow start" => "{} retransmissões em partida lenta",
        "Detected reordering {} times using time stamp" => {
            "Reordenação detectada {} vezes usando marca de tempo"
        }
        "{} TCP sockets finished time wait in fast timer" => {
            "{} sockets TCP terminaram TIME_WAIT no temporizador rápido"
        }
        "{} time wait sockets recycled by time stamp" => {
            "{} sockets TIME_WAIT reciclados pela marca de tempo"
        }
        "{} Number of Aborteds " => "{} associações abortadas",
        "{} Active Associations" => "{} associações ativas",
        "{} Number of Packets with invalid Checksum" => "{} pacotes com checksum inválido",
        "{} Current Associations" => "{} associações atuais",
        "{} Number of messages fragmented" => "{} mensagens fragmentadas",
        "{} Number of control chunks received" => "{} chunks de controle recebidos",
        "{} Number of ordered chunks received" => "{} chunks ordenados recebidos",
        "{} Number of SCTP packets received" => "{} pacotes SCTP recebidos",
        "{} Number of Unordered chunks received" => "{} chunks não ordenados recebidos",
        "{} Number of control chunks sent" => "{} chunks de controle enviados",
        "{} Number of Out of Blue packets" => "{} pacotes fora de associação",
        "{} Number of ordered chunks sent" => "{} chunks ordenados enviados",
        "{} Number of SCTP packets sent" => "{} pacotes SCTP enviados",
        "{} Number of Unordered chunks sent" => "{} chunks não ordenados enviados",
        "{} Passive Associations" => "{} associações passivas",
        "{} Number of messages reassembled " => "{} mensagens remontadas",
        "{} Number of Graceful Terminations" => "{} terminações normais",
        other => other,
    }
}
