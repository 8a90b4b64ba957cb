//! What each kind of problem means to a person.

use super::Text;

/// Code of the problem, whether it is of a payment that was taken, and the message.
pub(super) const PROBLEMS: &[(&str, bool, Text)] = &[
    (
        "payment-required",
        false,
        [
            "This has a price. Pay it, and the content follows at once.",
            "此內容需要付費。付款後立即提供內容。",
            "此内容需要付费。付款后立即提供内容。",
            "この内容は有料です。お支払い後すぐに提供されます。",
        ],
    ),
    (
        "quota-exceeded",
        false,
        [
            "The free requests are used up. Pay to go on now, or come back later.",
            "免費次數已用完。您可以立即付費繼續，或稍後再來。",
            "免费次数已用完。您可以立即付费继续，或稍后再来。",
            "無料の回数を使い切りました。今すぐ支払って続けるか、後でもう一度お試しください。",
        ],
    ),
    (
        "plan-required",
        false,
        [
            "This belongs to a subscription. Pay once, and use it for its whole period.",
            "此內容屬於訂閱方案。付款一次即可在整個期間內使用。",
            "此内容属于订阅方案。付款一次即可在整个期间内使用。",
            "この内容は定期購読に含まれます。一度のお支払いで期間中ご利用いただけます。",
        ],
    ),
    (
        "subscription-expired",
        false,
        [
            "The time that was paid for is over. Pay again to renew it.",
            "已付費的期間已結束。請再次付款以續訂。",
            "已付费的期间已结束。请再次付款以续订。",
            "お支払い済みの期間が終了しました。更新するにはもう一度お支払いください。",
        ],
    ),
    (
        "malformed-payment",
        false,
        [
            "The payment cannot be read. Nothing was charged.",
            "無法讀取這筆付款。未扣款。",
            "无法读取这笔付款。未扣款。",
            "支払いを読み取れません。請求は発生していません。",
        ],
    ),
    (
        "several-payments",
        false,
        [
            "More than one payment came with the request. Nothing was charged; send exactly one.",
            "此請求帶有多筆付款。未扣款；請只送出一筆。",
            "此请求带有多笔付款。未扣款；请只发送一笔。",
            "リクエストに複数の支払いが含まれています。請求は発生していません。一つだけ送ってください。",
        ],
    ),
    (
        "unsupported-version",
        false,
        [
            "Payments of this version are not taken here. Nothing was charged.",
            "此處不接受這個版本的付款。未扣款。",
            "此处不接受这个版本的付款。未扣款。",
            "このバージョンの支払いは受け付けていません。請求は発生していません。",
        ],
    ),
    (
        "payment-too-large",
        false,
        [
            "The payment header is too long. Nothing was charged.",
            "付款標頭過長。未扣款。",
            "付款标头过长。未扣款。",
            "支払いヘッダーが長すぎます。請求は発生していません。",
        ],
    ),
    (
        "body-too-large",
        false,
        [
            "The request is too long to be paid for. Nothing was charged.",
            "請求內容過長，無法付費。未扣款。",
            "请求内容过长，无法付费。未扣款。",
            "リクエストが長すぎて支払いの対象にできません。請求は発生していません。",
        ],
    ),
    (
        "body-timeout",
        false,
        [
            "The request did not arrive in time. Nothing was charged.",
            "請求未能及時送達。未扣款。",
            "请求未能及时送达。未扣款。",
            "リクエストが時間内に届きませんでした。請求は発生していません。",
        ],
    ),
    (
        "malformed-body",
        false,
        [
            "The request broke off. Nothing was charged.",
            "請求中斷。未扣款。",
            "请求中断。未扣款。",
            "リクエストが途中で途切れました。請求は発生していません。",
        ],
    ),
    (
        "bound-to-other-request",
        false,
        [
            "The payment is signed for another request. It was not used for this one.",
            "這筆付款是為另一個請求簽署的，未用於此請求。",
            "这笔付款是为另一个请求签署的，未用于此请求。",
            "この支払いは別のリクエストのために署名されたもので、ここでは使われませんでした。",
        ],
    ),
    (
        "payment-refused",
        false,
        [
            "The payment was not accepted. Nothing was charged.",
            "付款未被接受。未扣款。",
            "付款未被接受。未扣款。",
            "支払いは受け付けられませんでした。請求は発生していません。",
        ],
    ),
    (
        "payment-in-progress",
        false,
        [
            "The request that this payment pays for is still running. Present the same payment again in a moment.",
            "此付款對應的請求仍在處理中。請稍後以同一筆付款再試。",
            "此付款对应的请求仍在处理中。请稍后以同一笔付款再试。",
            "この支払いのリクエストはまだ処理中です。少し待って同じ支払いをもう一度提示してください。",
        ],
    ),
    (
        "payment-conflict",
        false,
        [
            "Another payment was signed with the same number. Nothing was charged for this one.",
            "已有另一筆付款使用相同編號簽署。這筆付款未扣款。",
            "已有另一笔付款使用相同编号签署。这笔付款未扣款。",
            "同じ番号で別の支払いが署名されています。この支払いの請求は発生していません。",
        ],
    ),
    (
        "settlement-pending",
        false,
        [
            "It is not known yet whether the payment went through. Present the same payment again; do not pay anew.",
            "尚不確定付款是否完成。請以同一筆付款再試，不要重新付款。",
            "尚不确定付款是否完成。请以同一笔付款再试，不要重新付款。",
            "支払いが完了したかまだ分かりません。新たに支払わず、同じ支払いをもう一度提示してください。",
        ],
    ),
    (
        "payment-voided",
        false,
        [
            "The payment was given back. Nothing was charged.",
            "付款已退回。未扣款。",
            "付款已退回。未扣款。",
            "支払いは取り消されました。請求は発生していません。",
        ],
    ),
    (
        "answer-not-kept",
        false,
        [
            "This was paid for and delivered once. The answer is no longer kept.",
            "此內容已付費並提供過一次，伺服器不再保存該內容。",
            "此内容已付费并提供过一次，服务器不再保存该内容。",
            "支払い済みで一度提供されました。回答はもう保存されていません。",
        ],
    ),
    (
        "handler-failed",
        false,
        [
            "The content could not be delivered. Nothing was charged.",
            "無法提供內容。未扣款。",
            "无法提供内容。未扣款。",
            "内容を提供できませんでした。請求は発生していません。",
        ],
    ),
    (
        "handler-failed",
        true,
        [
            "It is paid for, and the content could not be delivered yet. Present the same payment again.",
            "已付款，但內容尚未能提供。請以同一筆付款再試。",
            "已付款，但内容尚未能提供。请以同一笔付款再试。",
            "支払いは済んでいますが、まだ提供できていません。同じ支払いをもう一度提示してください。",
        ],
    ),
    (
        "handler-timeout",
        false,
        [
            "The content took too long. Nothing was charged.",
            "提供內容耗時過久。未扣款。",
            "提供内容耗时过久。未扣款。",
            "内容の準備に時間がかかりすぎました。請求は発生していません。",
        ],
    ),
    (
        "handler-timeout",
        true,
        [
            "It is paid for, and the content took too long. Present the same payment again.",
            "已付款，但提供內容耗時過久。請以同一筆付款再試。",
            "已付款，但提供内容耗时过久。请以同一笔付款再试。",
            "支払いは済んでいますが、時間がかかりすぎました。同じ支払いをもう一度提示してください。",
        ],
    ),
    (
        "client-gone",
        false,
        [
            "The connection ended before the content was ready. Nothing was charged.",
            "連線在內容準備好之前中斷。未扣款。",
            "连接在内容准备好之前中断。未扣款。",
            "内容の準備が整う前に接続が終了しました。請求は発生していません。",
        ],
    ),
    (
        "client-gone",
        true,
        [
            "It is paid for, and the connection ended too early. Present the same payment again.",
            "已付款，但連線過早中斷。請以同一筆付款再試。",
            "已付款，但连接过早中断。请以同一笔付款再试。",
            "支払いは済んでいますが、接続が早く終了しました。同じ支払いをもう一度提示してください。",
        ],
    ),
    (
        "refused-by-policy",
        false,
        [
            "The seller does not sell this to this payer.",
            "賣方不向此付款人出售此內容。",
            "卖方不向此付款人出售此内容。",
            "販売者はこの支払者には販売しません。",
        ],
    ),
    (
        "method-not-sold",
        false,
        [
            "This is not sold in this way. Nothing was charged.",
            "此處不以這種方式出售。未扣款。",
            "此处不以这种方式出售。未扣款。",
            "この方法では販売していません。請求は発生していません。",
        ],
    ),
    (
        "malformed-sign-in",
        false,
        [
            "The proof of your pass cannot be read. Nothing was charged.",
            "無法讀取您的通行證證明。未扣款。",
            "无法读取您的通行证证明。未扣款。",
            "パスの証明を読み取れません。請求は発生していません。",
        ],
    ),
    (
        "sign-in-too-large",
        false,
        [
            "The proof of your pass is too long. Nothing was charged.",
            "您的通行證證明過長。未扣款。",
            "您的通行证证明过长。未扣款。",
            "パスの証明が長すぎます。請求は発生していません。",
        ],
    ),
    (
        "sign-in-refused",
        false,
        [
            "The proof of your pass was not accepted. Sign in again, or pay.",
            "您的通行證證明未被接受。請重新登入或付款。",
            "您的通行证证明未被接受。请重新登录或付款。",
            "パスの証明は受け付けられませんでした。もう一度サインインするか、お支払いください。",
        ],
    ),
    (
        "passes-unavailable",
        false,
        [
            "It cannot be seen at the moment whether you have a pass. Try again soon; nothing was charged.",
            "目前無法確認您是否持有通行證。請稍後再試；未扣款。",
            "目前无法确认您是否持有通行证。请稍后再试；未扣款。",
            "現在、パスをお持ちか確認できません。しばらくしてからお試しください。請求は発生していません。",
        ],
    ),
    (
        "busy",
        false,
        [
            "The server is busy. Try again in a moment.",
            "伺服器忙碌中。請稍後再試。",
            "服务器繁忙。请稍后再试。",
            "サーバーが混み合っています。少し待ってからもう一度お試しください。",
        ],
    ),
    (
        "internal",
        false,
        [
            "The server made a mistake. Nothing was charged.",
            "伺服器發生錯誤。未扣款。",
            "服务器发生错误。未扣款。",
            "サーバーでエラーが発生しました。請求は発生していません。",
        ],
    ),
    ("paid", false, ["It is paid for.", "已付款。", "已付款。", "支払い済みです。"]),
];
